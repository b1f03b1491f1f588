"""Catching world coordinates that are wrong by more than a frame.

Such a frame seems to show another field. Without this test it would be skipped for want of a
reference, and nobody would know.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from astrid_site.imaging.errors import AlgorithmError, NoWorkError
from differencing.models import ReferenceRun
from observations.models import Observation
from preprocessing.models import ScienceImage
from preprocessing.selectors import science_image_of
from preprocessing.services import load_image, load_stars

if TYPE_CHECKING:
    from astrid_site.imaging.image import Image
    from preprocessing.algorithms.stars import StarList

#: Frames that are asked at most.
_MAX_WITNESSES = 3


def refuse_wrong_wcs(run: ReferenceRun, witnesses: Sequence[ScienceImage]) -> None:
    """Ask frames of the same target that lie elsewhere whether they show the same sky.

    Raises
    ------
    AlgorithmError
        If one does, with ``offset_arcsec``: one of the two world coordinates is wrong.
    """
    mine = science_image_of(run.observation_id, version=run.pipeline_version)
    if not witnesses or mine is None:
        return
    science, stars = _load(mine)
    for witness in witnesses[:_MAX_WITNESSES]:
        reference, reference_stars = _load(witness)
        _compare(reference, reference_stars, science, stars, witness.observation)


def _load(image: ScienceImage) -> tuple[Image, StarList]:
    if image.file is None or image.stars_file is None:
        msg = "image: a finished science image has its files"
        raise ValueError(msg)
    return load_image(image.file), load_stars(image.stars_file)


def _compare(
    reference: Image,
    reference_stars: StarList,
    science: Image,
    stars: StarList,
    witness: Observation,
) -> None:
    """Register by stars, or by pixels where these are too few: either may contradict the WCS."""
    from preprocessing.algorithms.registration import register

    try:
        found = register(reference, reference_stars, science, science_stars=stars)
    except NoWorkError:
        return
    except AlgorithmError as error:
        offset = error.numbers.get("offset_arcsec")
        if offset is None:
            # nothing tells the place: another field of the same name
            return
        how = "pixels" if "significance" in error.numbers else "stars"
        raise _wrong(float(cast(float, offset)), witness, how=f"their {how} match") from error
    if found.method == "stars" and found.wcs_offset_arcsec is not None:
        raise _wrong(found.wcs_offset_arcsec, witness, how="their stars match")


def _wrong(offset_arcsec: float, witness: Observation, *, how: str) -> AlgorithmError:
    large = offset_arcsec >= 60.0
    amount = f"{offset_arcsec / 60:.1f} arcmin" if large else f"{offset_arcsec:.0f} arcsec"
    msg = (
        f"the WCS is wrong by {amount}: this frame shows what {witness.observation_id} shows "
        f"({how}), which lies elsewhere by its own WCS"
    )
    return AlgorithmError(msg, offset_arcsec=offset_arcsec, witness=witness.observation_id)
