"""Fluxes of sources that a mask cuts, against the truth: right within errors that are told."""

from __future__ import annotations

import numpy as np
import pytest

from astrid_site.imaging.masks import MaskPlane
from astrid_site.imaging.photometry import cut_psf_stamps, fit_stamp_fluxes, shift_psf
from astrid_site.imaging.psf import PsfField
from detection.algorithms.cut_sources import fit_cut_sources

SIZE, SIGMA = 21, 1.3
FWHM = 2.3548 * SIGMA
NOISE = 5.0
#: S/N 25 of a whole source.
FLUX = 25.0 * NOISE * np.sqrt(4.0 * np.pi) * SIGMA
#: The last masked column.
GAP = 30


def point_source() -> PsfField:
    offset = np.arange(SIZE) - SIZE // 2
    stamp = np.exp(-(offset[:, None] ** 2 + offset**2) / (2.0 * SIGMA**2)).astype(np.float32)
    stamp /= stamp.sum()
    return PsfField(stamp[None], order=0, shape=(64, 64), fwhm_pix=FWHM, n_stars=20)


def measure(distance: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(flux, error) at the peak of what is seen and with the place free, in units of the truth."""
    psf = point_source()
    x, y = GAP + distance, 32.0 + rng.uniform(-0.5, 0.5)
    data = rng.normal(0.0, NOISE, (64, 64)).astype(np.float32)
    ix, iy = round(x), round(y)
    half = SIZE // 2
    data[iy - half : iy + half + 1, ix - half : ix + half + 1] += (
        FLUX * shift_psf(psf.at(x, y), np.array([x - ix]), np.array([y - iy]))[0]
    )
    mask = np.zeros((64, 64), np.uint16)
    mask[:, : GAP + 1] = MaskPlane.NO_DATA
    # the peak: where a matched filter of what is seen is highest, on a pixel that is
    seen = np.where(mask == 0, data, 0.0)
    score = np.full((64, 64), -np.inf)
    kernel = psf.at(32.0, 32.0)[0]
    for row in range(iy - 2, iy + 3):
        for column in range(GAP + 1, GAP + 6):
            cut = seen[row - half : row + half + 1, column - half : column + half + 1]
            score[row, column] = (kernel * cut).sum()
    row, column = np.unravel_index(int(score.argmax()), score.shape)
    stamps = cut_psf_stamps(
        data,
        np.full((64, 64), NOISE**2, np.float32),
        psf,
        mask=mask,
        x=np.array([column], float),
        y=np.array([row], float),
    )
    at_peak = fit_stamp_fluxes(stamps, max_lost_weight=1.0)
    whole = fit_cut_sources(stamps, at_peak, noise_scale=1.0, fwhm_pix=FWHM)
    return tuple(np.array([f.flux[0], f.flux_error[0]]) / FLUX for f in (at_peak, whole))  # type: ignore[return-value]


@pytest.mark.parametrize("distance", [-0.5, 0.0, 0.6, 1.4])
def test_a_source_that_a_gap_cuts_has_its_flux_within_its_error(distance: float) -> None:
    rng = np.random.default_rng(int(10 * distance) + 50)
    found = [measure(distance, rng) for _ in range(40)]
    peak, whole = (np.array([pair[k] for pair in found]) for k in (0, 1))
    pulls = (whole[:, 0] - 1.0) / whole[:, 1]
    # a posterior of a hidden part is no normal distribution: one in twenty may lie off
    assert np.mean(np.abs(pulls) < 3.0) >= 0.95
    assert np.median(np.abs(pulls)) < 1.0
    if distance <= 0.0:
        # at the peak of what is seen it was wrong by many of its errors
        assert np.median((peak[:, 0] - 1.0) / peak[:, 1]) < -3.0
        assert np.median(whole[:, 1]) > 2.0 * np.median(peak[:, 1])


def test_a_source_in_the_open_keeps_flux_and_error() -> None:
    rng = np.random.default_rng(8)
    peak, whole = measure(9.0, rng)
    assert (peak == whole).all()
