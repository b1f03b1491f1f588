"""Bounds on what an untrusted FITS file may claim, and on what reading it may cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

GIB = 2**30
MIB = 2**20


class ReaderLimits(Protocol):
    """What a disposable reader may use before the kernel or its parent ends it."""

    @property
    def memory_bytes(self) -> int:
        """Largest address space."""

    @property
    def cpu_seconds(self) -> int:
        """Most processor time."""

    @property
    def wall_seconds(self) -> int:
        """Longest wait for its answer."""

    @property
    def output_bytes(self) -> int:
        """Largest file that it may write."""


@dataclass(frozen=True)
class GateLimits:
    """Bounds of the FITS gate and of the disposable reader.

    Attributes
    ----------
    max_file_bytes : int
        Largest file taken in.
    max_expanded_bytes : int
        Largest content of a gzip or bzip2 container.
    free_expansion_bytes : int
        Content up to here may be compressed by any ratio (masks compress a thousandfold).
    max_expansion_ratio : int
        Largest ratio of content to container beyond ``free_expansion_bytes``.
    max_pixels : int
        Most pixels of one image.
    max_cards : int
        Most header cards of one HDU; a file may hold ten times as many.
    max_hdus : int
        Most HDUs of one file.
    max_axes : int
        Most axes an array may claim.
    memory_bytes, cpu_seconds, wall_seconds : int
        What the reader process may use before the kernel or the parent ends it.
    """

    max_file_bytes: int = 2 * GIB
    max_expanded_bytes: int = 4 * GIB
    free_expansion_bytes: int = 256 * MIB
    max_expansion_ratio: int = 100
    max_pixels: int = 150_000_000
    max_cards: int = 10_000
    max_hdus: int = 200
    max_axes: int = 16
    memory_bytes: int = 3 * GIB
    cpu_seconds: int = 60
    wall_seconds: int = 90

    @property
    def output_bytes(self) -> int:
        """Largest file that the reader may write: the pixels as float32, and a header."""
        return 4 * self.max_pixels + MIB
