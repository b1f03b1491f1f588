"""What speaks against world coordinates that neither stars nor pixels have confirmed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import is_bad
from preprocessing.algorithms.plane_map import PlaneMap, apply_maps, frame_grid, is_within
from preprocessing.algorithms.pointing import measure_pointing
from preprocessing.algorithms.star_matching import match_stars
from preprocessing.algorithms.stars import StarList

# with this many stars in both frames, a WCS for which they form no pattern is not believed
_ENOUGH_TO_JUDGE = 8
# with this many, one is still believed that puts a third of them where the reference has them
_ENOUGH_TO_DOUBT = 3
_COINCIDENCE_PIX = 3.0
# a pattern that lies this near to where the WCS puts it confirms it
_SAME_PLACE_PIX = 3.0
# a pattern is believed against a WCS if it is of so many stars and of this share of those in
# common: unrelated fields of 8,000 stars per million pixels have 3 % of theirs in common
_PATTERN_STARS = 12
_PATTERN_SHARE = 0.3
_TURNS = {
    "mirrored left to right": np.s_[:, ::-1],
    "mirrored top to bottom": np.s_[::-1, :],
    "upside down": np.s_[::-1, ::-1],
}


def is_placed_as(prior: PlaneMap, coarse: PlaneMap, shape: tuple[int, int]) -> bool:
    """Whether two maps put a frame on the same place, turned and scaled alike."""
    x, y = frame_grid(shape, 5)
    to_x, to_y = prior(x, y)
    at_x, at_y = coarse(x, y)
    # the median: a similarity fitted in the middle misses a distorted corner
    return bool(np.median(np.hypot(to_x - at_x, to_y - at_y)) <= _SAME_PLACE_PIX)


def share_of_stars(
    maps: tuple[PlaneMap, ...],
    reference: Image,
    reference_stars: StarList,
    science: Image,
    science_stars: StarList,
    *,
    n_matched: int,
) -> float:
    """Matched stars over those that both frames should show under a map."""
    seen = _stars_in_common(maps, reference, reference_stars, science, science_stars)
    return n_matched / max(seen, 1)


def is_pattern_trusted(
    maps: tuple[PlaneMap, ...],
    reference: Image,
    reference_stars: StarList,
    science: Image,
    science_stars: StarList,
    *,
    n_matched: int,
) -> bool:
    """Whether a match of star patterns is worth more than the world coordinates against it."""
    if n_matched < _PATTERN_STARS:
        return False
    stars = maps, reference, reference_stars, science, science_stars
    return share_of_stars(*stars, n_matched=n_matched) >= _PATTERN_SHARE


def refuse_unconfirmed_wcs(
    prior: PlaneMap,
    reference: Image,
    reference_stars: StarList,
    science: Image,
    *,
    science_stars: StarList,
) -> None:
    """Raise where stars that both frames should show do not coincide under their WCS.

    Raises
    ------
    AlgorithmError
        Carries ``n_stars`` and ``n_matched``.
    """
    seen = _stars_in_common((prior,), reference, reference_stars, science, science_stars)
    if seen < _ENOUGH_TO_DOUBT:
        return
    pairs = match_stars((prior,), reference_stars, science_stars, radius=_COINCIDENCE_PIX)
    n_matched = int(pairs.science.size)
    if seen < _ENOUGH_TO_JUDGE and 3 * n_matched >= seen:
        return
    turned = _turn_that_fits(reference, science)
    if turned is not None:
        msg = f"the WCS is wrong: the pixels show the reference's sky {turned}"
    elif n_matched == 0 or seen >= _ENOUGH_TO_JUDGE:
        msg = f"the WCS puts no star on a star, though {seen} should coincide"
    else:
        msg = f"the WCS puts {n_matched} of {seen} stars on a star, and the pixels do not agree"
    raise AlgorithmError(msg, n_stars=seen, n_matched=n_matched)


def _stars_in_common(
    maps: tuple[PlaneMap, ...],
    reference: Image,
    reference_stars: StarList,
    science: Image,
    science_stars: StarList,
) -> int:
    """Clean stars that should be seen in both frames: the lesser count within the overlap."""
    x, y = apply_maps(maps, science_stars.x, science_stars.y)
    ours = science_stars.is_star & is_within(x, y, reference.shape)
    # a deeper frame saturates on the stars of a shallower one
    ours[ours] = ~_is_lost(reference, x[ours], y[ours])
    corners = apply_maps(maps, *frame_grid(science.shape, 9))
    inside = (reference_stars.x > corners[0].min()) & (reference_stars.x < corners[0].max())
    inside &= (reference_stars.y > corners[1].min()) & (reference_stars.y < corners[1].max())
    theirs = reference_stars.is_star & inside
    return int(min(ours.sum(), theirs.sum()))


def _is_lost(image: Image, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether positions on a frame fall on unusable pixels."""
    lost: NDArray[np.bool_] = is_bad(image.mask)[np.rint(y).astype(int), np.rint(x).astype(int)]
    return lost


def _turn_that_fits(reference: Image, science: Image) -> str | None:
    """How the pixels lie against their header, where turning them shows the reference's sky."""
    if reference.variance is None or science.variance is None:
        return None
    for name, turn in _TURNS.items():
        turned = science.with_(
            data=np.ascontiguousarray(science.data[turn]),
            variance=np.ascontiguousarray(science.variance[turn]),
            mask=np.ascontiguousarray(science.mask[turn]),
        )
        if measure_pointing(reference, turned).is_found:
            return name
    return None
