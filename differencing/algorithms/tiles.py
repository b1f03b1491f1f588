"""Filtering a pair of frames tile by tile in Fourier space (overlap-save), with bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from astrid_site.imaging.psf import PsfField, measure_fwhm, position_terms
from differencing.algorithms.pair import Pair
from differencing.algorithms.tile_filters import Matching, TileFilters
from differencing.algorithms.tile_group import TileGroup
from differencing.algorithms.tiling import plan_tiles

__all__ = ["Filtered", "Matching", "TileFilters", "filter_pair", "fit_psf_field"]

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Filtered:
    """Planes of shape (ny, nx) that subtraction and score are made of.

    Attributes
    ----------
    difference : NDArray[float32]
        Whitened difference [science units]; 0 on bad pixels.
    variance : NDArray[float32]
        Propagated variance of ``difference``.
    signal : NDArray[float32]
        Matched filter output ``sum(psf * difference)``.
    signal_variance : NDArray[float32]
        Its variance, both images' source noise included.
    static_signal : NDArray[float32]
        The same filter on the matched template: what was subtracted there.
    bad : NDArray[bool]
        Pixels without a difference, those spoilt by interpolated neighbours included.
    psf : PsfField
        PSF of the difference.
    """

    difference: FloatArray
    variance: FloatArray
    signal: FloatArray
    signal_variance: FloatArray
    static_signal: FloatArray
    bad: NDArray[np.bool_]
    psf: PsfField


def filter_pair(pair: Pair, matching: Matching, *, device: str, threads: int) -> Filtered:
    """Difference, matched-filter signal and their variances over the whole frame.

    Parameters
    ----------
    pair : Pair
        The two frames.
    matching : Matching
        Filters of either method.
    device : str
        torch device.
    threads : int
        Groups of tiles worked on at the same time.
    """
    tiling = plan_tiles(pair.shape, margin=matching.reach, largest=matching.largest_tile)
    planes = [np.empty(pair.shape, dtype=np.float32) for _ in range(5)]
    bad = pair.bad.copy()
    size = _psf_size(pair)

    def work(corners: list[tuple[int, int]]) -> FloatArray:
        group = TileGroup(pair, matching, tiling, corners, device=device)
        for part, tiles in group.run():
            for plane, values in zip(planes, tiles[:5], strict=True):
                tiling.scatter(plane, values, part)
            tiling.scatter(bad, tiles[5], part, add=True)
        return group.psf_images(size)

    with _each_alone(threads) as pool:
        psfs = list(pool.map(work, tiling.batches()))
    x, y = tiling.centres(tiling.corners)
    psf = fit_psf_field(np.concatenate(psfs), x, y, shape=pair.shape)
    planes[0][bad] = 0.0
    return Filtered(
        difference=planes[0],
        variance=planes[1],
        signal=planes[2],
        signal_variance=planes[3],
        static_signal=planes[4],
        bad=bad,
        psf=psf,
    )


@contextmanager
def _each_alone(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that work on tiles of their own; torch must not divide each of their steps again."""
    within = torch.get_num_threads()

    def start() -> None:
        torch.set_num_threads(1)
        torch.set_grad_enabled(False)

    with ThreadPoolExecutor(max(threads, 1), initializer=start) as pool:
        yield pool
    torch.set_num_threads(within)


def _psf_size(pair: Pair) -> int:
    return max(pair.science_psf.size, pair.template_psf.size)


def fit_psf_field(
    images: FloatArray, x: NDArray[np.float64], y: NDArray[np.float64], *, shape: tuple[int, int]
) -> PsfField:
    """PSF field through PSF images at the centres of tiles."""
    order = 2 if len(images) >= 12 else 1 if len(images) >= 4 else 0
    terms = position_terms(x, y, shape=shape, order=order)
    solution, *_ = np.linalg.lstsq(terms, images.reshape(len(images), -1), rcond=None)
    coefficients = solution.reshape(-1, *images.shape[1:]).astype(np.float32)
    centre = position_terms(
        np.array([(shape[1] - 1) / 2]), np.array([(shape[0] - 1) / 2]), shape=shape, order=order
    )
    middle = np.einsum("k,kij->ij", centre[0].astype(np.float32), coefficients)
    return PsfField(
        coefficients=coefficients,
        order=order,
        shape=shape,
        fwhm_pix=measure_fwhm(np.asarray(middle, dtype=np.float32)),
        n_stars=0,
    )
