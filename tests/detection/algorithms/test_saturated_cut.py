"""What sits beside a saturated core is cut, by that cut alone, in units of the PSF's width."""

from __future__ import annotations

import pytest

from astrid_site.imaging.masks import MaskPlane
from detection.algorithms.candidates import find_candidates
from detection.algorithms.cuts import Cut, CutConfig, apply_cuts
from detection.algorithms.measurement import measure
from tests.detection.algorithms.difference_sky import Stars, make_images, make_sky


def cuts_of_source(*, fwhm: float, saturated_at: int | None) -> dict[str, Cut]:
    """Cuts of a source of S/N 40 with a saturated pixel so many pixels to its right."""
    sky = make_sky([(100.0, 100.0, 40.0)], fwhm=fwhm)
    template, science = make_images(sky)
    if saturated_at is not None:
        mask = science.mask.copy()
        mask[100, 100 + saturated_at] = MaskPlane.SATURATED
        science = science.with_(mask=mask)
    (measured,) = measure(sky, template, science, find_candidates(sky), stars=Stars())
    return {cut.name: cut for cut in apply_cuts(measured, CutConfig())}


@pytest.mark.parametrize(
    ("fwhm", "distance", "kept"), [(3.0, 3, False), (3.0, 6, True), (5.0, 6, False), (5.0, 9, True)]
)
def test_the_limit_is_one_and_a_half_widths(fwhm: float, distance: int, kept: bool) -> None:
    cuts = cuts_of_source(fwhm=fwhm, saturated_at=distance)
    cut = cuts["saturated_distance_fwhm"]
    # a centroid at S/N 40 is good to 0.05 pix at a width of 3, and the width itself to 2 %
    assert cut.value == pytest.approx(distance / fwhm, rel=0.08)
    assert cut.kept is kept
    assert {name for name, other in cuts.items() if not other.kept} == (
        set() if kept else {"saturated_distance_fwhm"}
    )


def test_without_a_saturated_pixel_the_cut_does_not_apply() -> None:
    cut = cuts_of_source(fwhm=3.0, saturated_at=None)["saturated_distance_fwhm"]
    assert (cut.value, cut.kept) == (None, True)
