"""Coadds, against what the noise allows."""

from __future__ import annotations

import numpy as np
import pytest

from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskPlane
from astrid_site.imaging.psf import constant_psf
from differencing.algorithms.reference import coadd, combine_psfs, measure_coadd
from differencing.algorithms.unsettled import find_disagreement

SHAPE = (96, 120)


def make_image(seed: int, *, sigma: float = 5.0, fwhm: float = 3.0, source: float = 0.0) -> Image:
    rng = np.random.default_rng(seed)
    offset = np.arange(21) - 10
    psf = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * (fwhm / 2.355) ** 2)).astype(np.float32)
    data = rng.normal(0, sigma, SHAPE).astype(np.float32)
    data[40:61, 50:71] += np.float32(source) * psf / psf.sum()
    return Image(
        data=data,
        mask=np.zeros(SHAPE, np.uint16),
        variance=np.full(SHAPE, sigma**2, np.float32),
        psf=constant_psf(psf, shape=SHAPE),
        exposure_s=30.0,
    )


def test_a_coadd_is_as_deep_as_its_variance_says() -> None:
    images = [make_image(seed, sigma=sigma) for seed, sigma in enumerate((4.0, 5.0, 8.0, 6.0))]
    deep = coadd(images).image
    ideal = 1.0 / sum(1.0 / s**2 for s in (4.0, 5.0, 8.0, 6.0))
    # clipping at 4 sigma removes under 0.1 % of the pixels
    assert np.median(deep.variance) == pytest.approx(ideal, rel=0.01)
    # 11520 pixels: the width is known to 0.7 %
    assert deep.data.std() == pytest.approx(np.sqrt(ideal), rel=0.03)


def test_a_cosmic_ray_in_one_epoch_does_not_reach_the_coadd() -> None:
    images = [make_image(seed) for seed in range(4)]
    images[2].data[10, 11] += 5000.0
    result = coadd(images)
    assert abs(result.image.data[10, 11]) < 15.0
    assert result.coverage[10, 11] == 3


def test_a_star_keeps_its_flux_when_the_seeing_differs() -> None:
    images = [make_image(seed, fwhm=f, source=50_000.0) for seed, f in enumerate((2.5, 3.0, 4.0))]
    image = coadd(images).image
    # 21x21 pixels of 3-epoch noise: 21 * 5 / sqrt(3) = 61
    assert image.data[40:61, 50:71].sum() == pytest.approx(50_000.0, abs=5 * 61)
    assert image.psf is not None
    assert image.psf.at(60.0, 50.0)[0].sum() == pytest.approx(1.0, abs=1e-5)
    assert image.exposure_s == 90.0


def test_a_pixel_that_no_epoch_has_is_marked() -> None:
    images = [make_image(seed) for seed in range(2)]
    for image in images:
        image.mask[5, 6] = MaskPlane.SATURATED
    result = coadd(images)
    assert result.image.mask[5, 6] == MaskPlane.NO_DATA | MaskPlane.SATURATED
    assert result.coverage[5, 6] == 0
    assert np.isfinite(result.image.data).all()


def test_flux_scales_bring_epochs_together() -> None:
    first, second = make_image(1, source=20_000.0), make_image(2, source=10_000.0)
    image = coadd([first, second], flux_scales=[1.0, 2.0]).image
    assert image.data[40:61, 50:71].sum() == pytest.approx(20_000.0, abs=5 * 21 * 5)


@pytest.mark.parametrize("broken", ["shape", "variance", "psf", "none"])
def test_images_that_cannot_be_combined_are_refused(broken: str) -> None:
    image = make_image(1)
    small = Image(
        data=image.data[:50], mask=image.mask[:50], variance=image.variance[:50], psf=image.psf
    )
    others = {
        "shape": [image, small],
        "variance": [image.with_(variance=None)],
        "psf": [image.with_(psf=None)],
        "none": [],
    }
    with pytest.raises(ValueError, match="images"):
        coadd(others[broken])


def test_shares_tell_what_each_epoch_gave_and_a_spare_one_only_fills_in() -> None:
    images = [make_image(seed, sigma=sigma) for seed, sigma in enumerate((4.0, 8.0, 4.0))]
    images[0].mask[10:20, 10:20] = MaskPlane.BAD_PIXEL
    images[1].mask[10:20, 10:20] = MaskPlane.BAD_PIXEL
    result = coadd(images, spare=[2])
    assert sum(result.shares) == pytest.approx(1.0, abs=1e-6)
    # inverse variances 4 : 1, but for the 100 of 11520 pixels that the spare one has to itself
    assert result.shares[0] == pytest.approx(0.8 * (1 - 100 / 11520), abs=2e-3)
    assert result.shares[2] == pytest.approx(100 / 11520, rel=1e-3)
    assert np.array_equal(result.image.data[10:20, 10:20], images[2].data[10:20, 10:20])
    assert result.coverage[15, 15] == 1


def test_interpolation_makes_no_epoch_worth_more() -> None:
    images = [make_image(seed) for seed in range(3)]
    # by half a pixel, linearly: half the variance in each pixel, the rest moved to neighbours
    halved = 0.5 * (images[2].data + np.roll(images[2].data, 1, axis=1))
    images[2] = images[2].with_(data=halved, variance=0.5 * images[2].variance)
    assert coadd(images, sky_noises=[5.0] * 3).shares == pytest.approx([1 / 3] * 3, abs=0.001)
    # by the variance in the pixels it got half of the weight
    assert coadd(images).shares[2] == pytest.approx(0.5, abs=0.01)


def test_a_changed_epoch_is_not_averaged_and_its_place_is_marked() -> None:
    images = [make_image(seed, source=2000.0 if seed == 3 else 0.0) for seed in range(4)]
    found = find_disagreement(images)
    result = coadd(images, disagreement=found)
    assert result.image.mask[50, 60] & MaskPlane.UNSETTLED
    assert result.image.mask[5, 5] == 0
    assert result.coverage[50, 60] == 3
    # 2000 / 4 = 500 would be left of it; 9x9 pixels of three epochs' noise: 9 * 5 / sqrt(3) = 26
    assert abs(result.image.data[46:55, 56:65].sum()) < 4 * 26


def test_what_is_measured_on_a_coadd_keeps_the_variance_of_its_epochs() -> None:
    rng = np.random.default_rng(3)
    images = []
    places = np.column_stack([rng.uniform(15, 105, 12), rng.uniform(15, 80, 12)])
    for seed in range(3):
        image = make_image(seed + 20)
        for x, y in places:
            gy, gx = np.mgrid[: SHAPE[0], : SHAPE[1]]
            star = np.exp(-((gx - x) ** 2 + (gy - y) ** 2) / (2 * (3.0 / 2.355) ** 2))
            image.data[...] += (8000.0 * star / star.sum()).astype(np.float32)
        images.append(image)
    combined = coadd(images)
    measured, _ = measure_coadd(combined.image)
    assert measured.image.psf is not None
    assert measured.image.variance is combined.image.variance
    assert measured.image.psf.fwhm_pix == pytest.approx(3.0, rel=0.1)


def test_a_star_that_is_saturated_in_one_epoch_is_masked_and_a_bleed_trail_is_filled() -> None:
    images = [make_image(seed) for seed in range(3)]
    images[1].mask[30:33, 40:43] = MaskPlane.SATURATED
    images[1].mask[60:80, 41] = MaskPlane.BLEED
    result = coadd(images)
    # the others fill its core, but with a PSF that its wings do not have
    assert (result.image.mask[30:33, 40:43] == MaskPlane.SATURATED).all()
    assert result.image.mask[70, 41] == 0
    assert result.coverage[70, 41] == 2


def test_a_psf_that_the_stars_cannot_give_is_the_mean_of_the_epochs() -> None:
    images = [make_image(seed, fwhm=fwhm) for seed, fwhm in enumerate((2.8, 3.2))]
    combined = coadd(images).image
    measured, remarks = measure_coadd(combined)
    # blank sky: no star at all
    assert remarks
    assert measured.image.psf is combined.psf


def test_a_star_of_which_one_epoch_has_a_part_has_the_error_of_its_uneven_psf() -> None:
    widths, weights = (2.4, 3.0), np.array([0.5, 0.5])
    images = [make_image(i, fwhm=w, source=400_000.0) for i, w in enumerate(widths)]
    whole = coadd([make_image(i, fwhm=w, source=400_000.0) for i, w in enumerate(widths)])
    # the edge of the sharper frame lies on the star's wing; below it the other one is alone
    images[0].mask[:47] = MaskPlane.NO_DATA
    combined = coadd(images)
    psf = combine_psfs([i.psf for i in images if i.psf is not None], weights=weights)
    expected = np.zeros(SHAPE, np.float32)
    expected[40:61, 50:71] = 400_000.0 * psf.at(60.0, 50.0)[0]
    assert combined.image.variance is not None
    assert whole.image.variance is not None
    pulls = np.abs(combined.image.data - expected) / np.sqrt(combined.image.variance)
    noise = np.where(np.arange(SHAPE[0]) < 47, 25.0, 12.5)[:, None]
    alone = np.abs(combined.image.data - expected) / np.sqrt(noise)
    assert alone[:47].max() > 20.0
    assert pulls[:47].max() < 5.0
    # where both are, and on blank sky, nothing is added
    assert np.array_equal(combined.image.variance[47:], whole.image.variance[47:])
    assert combined.image.variance[:35] == pytest.approx(25.0)
