"""Simulated star fields with known truth."""

from __future__ import annotations

from astrid_site.imaging.sky_pair import PairConfig, SimulatedPair, simulate_pair

__all__ = ["PairConfig", "SimulatedPair", "simulate_pair"]
