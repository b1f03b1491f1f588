"""The product as a program sees it: REST with an API key."""

from __future__ import annotations

import json
import urllib.request
from typing import Any


class Rest:
    """Reads of ``/api/v1/``."""

    def __init__(self, address: str, key: str) -> None:
        self.address = address
        self.key = key

    def get(self, path: str) -> Any:
        """What a GET answers."""
        request = urllib.request.Request(
            f"{self.address}/api/v1/{path}", headers={"Authorization": f"Key {self.key}"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def labels(self, candidate: str) -> list[str]:
        """Every answer ever given on a candidate, oldest first."""
        return [row["label"] for row in self.get(f"candidates/{candidate}/verdict/")]

    def count(self, path: str) -> int:
        """Number of rows of a list that fits on one page."""
        page = self.get(path)
        assert page["next"] is None
        return len(page["results"])
