"""Shared people and rows."""

from tests.api.fixtures import api_as, browser_as, people, world

__all__ = ["api_as", "browser_as", "people", "world"]
