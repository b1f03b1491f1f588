"""What goes into a subtraction besides the images, and what comes out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.masks import MaskArray
from astrid_site.imaging.psf import PsfField

FloatArray = NDArray[np.float32]
Method = Literal["auto", "kernel", "zogy", "alard_lupton"]
Direction = Literal["auto", "template", "science", "cross"]
Verdict = Literal["pass", "downgrade", "fail"]
Metric = float | int | str | None


class Stars(Protocol):
    """What subtraction needs of a star list; arrays of shape (n,)."""

    @property
    def x(self) -> NDArray[np.float64]:
        """Columns in the science frame [pix], 0-based."""

    @property
    def y(self) -> NDArray[np.float64]:
        """Rows in the science frame [pix], 0-based."""

    @property
    def flux(self) -> NDArray[np.float64]:
        """Fluxes [science units]."""

    @property
    def flux_error(self) -> NDArray[np.float64]:
        """Standard errors of the fluxes [science units]."""

    @property
    def is_star(self) -> NDArray[np.bool_]:
        """True for clean, unsaturated, isolated point sources."""


@dataclass(frozen=True)
class SubtractionConfig:
    """Parameters of a subtraction.

    Attributes
    ----------
    method : {"auto", "kernel", "zogy", "alard_lupton"}
        Kernel matching, ZOGY, the classic kernel of Gaussians, or the choice by the data.
    direction : {"auto", "template", "science", "cross"}
        Which image the kernel convolves; ``cross`` convolves each with the other's PSF first.
    kernel_half_width : int, optional
        Half width of the kernel [pix]; from the seeing when None.
    spatial_order : int, optional
        Order of the kernel's variation across the frame; by cross-validation when None.
    max_spatial_order : int
        Highest order that cross-validation may choose.
    max_stars : int
        Stars used for the kernel, spread over the frame.
    min_stars : int
        Fewest stars a kernel may be fitted to.
    background_order : int
        Order of the differential background left after the kernel.
    halo_growth : float
        Growth of the mask around a saturated core, in units of the core's own radius.
    device : str
        torch device of the heavy parts.
    threads : int
        Threads of the Fourier transforms on the CPU.
    """

    method: Method = "auto"
    direction: Direction = "auto"
    kernel_half_width: int | None = None
    spatial_order: int | None = None
    max_spatial_order: int = 2
    max_stars: int = 400
    min_stars: int = 5
    background_order: int = 2
    halo_growth: float = 1.0
    device: str = "cpu"
    threads: int = 1


@dataclass(frozen=True)
class Subtraction:
    """Science minus template, with all that is needed to judge it.

    A new point source of flux f [science units] at (x, y) appears as ``f * psf.at(x, y)``.

    Attributes
    ----------
    difference : NDArray[float32], shape (ny, nx)
        Difference on the science grid [science units], its noise white; 0 where masked.
    variance : NDArray[float32], shape (ny, nx)
        Variance of the difference [squared science units]: propagated noise, scaled to the
        width measured on blank sky, plus the error of the PSF model on the template's sources.
    score : NDArray[float32], shape (ny, nx)
        Significance of a point source centred on each pixel [sigma]; 0 where masked.
    mask : NDArray[uint16], shape (ny, nx)
        ``MaskPlane`` bits of either image, with STAR_HALO around saturated cores.
    psf : PsfField
        PSF of the difference.
    method : str
        Method used: ``"kernel/<direction>"``, ``"zogy"`` or ``"alard_lupton"``.
    method_reason : str
        Why, in one sentence.
    metrics : dict
        Numbers of the fit and of the quality judgement.
    quality : {"pass", "downgrade", "fail"}
        Verdict of the quality judgement.
    quality_reasons : tuple of str
        What kept the verdict from "pass", each number with its limit.
    kernel_stamps : NDArray[float32], shape (9, size, size), or None
        The fitted kernel at 3 x 3 places of the frame, in the order of ``grid_positions``; None
        where no kernel was fitted.
    """

    difference: FloatArray
    variance: FloatArray
    score: FloatArray
    mask: MaskArray
    psf: PsfField
    method: str
    method_reason: str
    metrics: dict[str, Metric]
    quality: Verdict
    quality_reasons: tuple[str, ...]
    kernel_stamps: FloatArray | None = None

    def doubted(self, doubts: tuple[str, ...]) -> Subtraction:
        """The same, no better than "downgrade" where there are doubts about the frames."""
        if not doubts:
            return self
        quality: Verdict = "downgrade" if self.quality == "pass" else self.quality
        return replace(self, quality=quality, quality_reasons=(*self.quality_reasons, *doubts))
