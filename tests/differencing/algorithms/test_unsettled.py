"""Epochs that disagree: what changed is found and kept out, what did not stays."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskPlane
from astrid_site.imaging.psf import constant_psf
from differencing.algorithms.reference import coadd
from differencing.algorithms.unsettled import find_disagreement

SHAPE = (300, 200)
SIGMA = 5.0
PLACE = (130, 90)


def moffat(fwhm: float, x: float, y: float) -> NDArray[np.float64]:
    gy, gx = np.mgrid[: SHAPE[0], : SHAPE[1]]
    beta = 3.0
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    shape = (1 + ((gx - x) ** 2 + (gy - y) ** 2) / alpha**2) ** -beta
    return np.asarray(shape * (beta - 1) / (np.pi * alpha**2))


def make_epoch(
    seed: int, *, transient: float = 0.0, fwhm: float = 3.0, stars: bool = False
) -> Image:
    rng = np.random.default_rng(seed)
    light = transient * moffat(fwhm, PLACE[1], PLACE[0])
    if stars:
        sky = np.random.default_rng(99)
        for _ in range(60):
            x, y = sky.uniform(0, SHAPE[1]), sky.uniform(0, SHAPE[0])
            light = light + 10 ** sky.uniform(3, 5.5) * moffat(fwhm, x, y)
    variance = SIGMA**2 + np.maximum(light, 0.0)
    data = light + rng.normal(0.0, np.sqrt(variance))
    offset = np.arange(21) - 10
    psf = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * (fwhm / 2.355) ** 2))
    return Image(
        data=data.astype(np.float32),
        mask=np.zeros(SHAPE, np.uint16),
        variance=variance.astype(np.float32),
        psf=constant_psf(psf.astype(np.float32), shape=SHAPE),
    )


def flux_at_place(image: Image) -> float:
    y, x = PLACE
    return float(image.data[y - 4 : y + 5, x - 4 : x + 5].sum())


def test_a_field_that_did_not_change_is_settled_whatever_the_seeing() -> None:
    epochs = [make_epoch(i, fwhm=f, stars=True) for i, f in enumerate((2.8, 3.2, 3.6, 4.4))]
    for former in ((), (0, 1)):
        found = find_disagreement(epochs, former=former)
        # 60 stars up to S/N 500 and seeing 2.8 to 4.4: their cores may disagree by their shape
        assert found.marked.mean() < 0.01
        assert found.n_rejected == 0


def test_a_transient_of_the_later_epochs_does_not_move_the_zero_level() -> None:
    # PSF noise 5 * 3.0 * 1.5 = 23 in one epoch: S/N 22
    epochs = [make_epoch(i, transient=500.0 if i >= 2 else 0.0) for i in range(6)]
    found = find_disagreement(epochs, former=(0, 1))
    settled = coadd(epochs, disagreement=found).image
    blind = coadd(epochs).image
    # 9 x 9 pixels of two epochs: 9 * 5 / sqrt(2) = 32
    assert abs(flux_at_place(settled)) < 4 * 32
    assert flux_at_place(blind) > 4 * 32
    assert settled.mask[PLACE] & MaskPlane.UNSETTLED
    # elsewhere all six are averaged
    assert np.count_nonzero(found.rejected) < 4 * 40 * 40


def test_a_transient_too_faint_for_one_epoch_is_seen_in_the_mean_of_them() -> None:
    epochs = [make_epoch(i, transient=85.0 if i >= 6 else 0.0) for i in range(16)]
    alone = find_disagreement([*epochs[:6], epochs[6]], former=range(6))
    together = find_disagreement(epochs, former=range(6))
    assert not alone.rejected[:, PLACE[0], PLACE[1]].any()
    assert together.rejected[6:, PLACE[0], PLACE[1]].all()
    assert not together.rejected[:6].any()


def test_what_one_epoch_alone_shows_is_kept_out_of_that_epoch_only() -> None:
    epochs = [make_epoch(i, transient=800.0 if i == 4 else 0.0) for i in range(6)]
    for former in ((), (0, 1)):
        rejected = find_disagreement(epochs, former=former).rejected[:, PLACE[0], PLACE[1]]
        assert list(np.flatnonzero(rejected)) == [4]


def test_of_two_epochs_the_fainter_is_believed() -> None:
    epochs = [make_epoch(0, transient=800.0), make_epoch(1)]
    rejected = find_disagreement(epochs).rejected[:, PLACE[0], PLACE[1]]
    assert list(rejected) == [True, False]


def test_a_masked_place_is_not_compared_and_bands_join_without_a_seam() -> None:
    epochs = [make_epoch(i, stars=True) for i in range(3)]
    epochs[1].data[250:262, 100:112] = 1e5
    epochs[1].mask[250:262, 100:112] = MaskPlane.SATURATED
    found = find_disagreement(epochs)
    assert not found.marked.any()


@pytest.mark.parametrize("missing", ["variance", "psf"])
def test_an_epoch_without_noise_or_psf_is_refused(missing: str) -> None:
    epochs = [make_epoch(0), make_epoch(1).with_(**{missing: None})]
    with pytest.raises(ValueError, match=missing if missing == "variance" else "PSF"):
        find_disagreement(epochs)
