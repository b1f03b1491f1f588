"""How many labels it takes to learn anything that would hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = Any

#: Labels of each class, other than simulated ones, below which nothing is learnt that would hold.
LEAST_LABELS = 20
#: Of each class, to learn from, to stop by and to judge on.
LEAST_IN_SPLIT = {"train": 20, "validation": 5, "test": 5}


def problems(counts: Mapping[str, Json]) -> list[str]:
    """What a data set lacks to be learnt from, in words; empty where nothing is missing.

    Parameters
    ----------
    counts : mapping
        ``counts`` of its manifest.
    """
    simulated = counts["sources"].get("simulated", {})
    found = []
    for word in ("real", "bogus"):
        n = counts[f"n_{word}"] - simulated.get(word, 0)
        if n < LEAST_LABELS:
            found.append(f"{n} labels say {word}; {LEAST_LABELS} are needed")
    for side, least in LEAST_IN_SPLIT.items():
        held = counts["splits"][side]
        if min(held["real"], held["bogus"]) < least:
            found.append(
                f"{side} holds {held['real']} real and {held['bogus']} bogus; "
                f"{least} of each are needed"
            )
    return found
