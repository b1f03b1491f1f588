"""The versions of a field's reference, planned from its epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from differencing.selectors import retired_digests
from differencing.services.building import Recipe
from observations.models import Survey
from preprocessing.models import ScienceImage

if TYPE_CHECKING:
    from differencing.algorithms.epoch_choice import ChoiceRule, Epoch, Selection, Version


def plan_field(images: Sequence[ScienceImage], survey: Survey) -> list[Recipe]:
    """Every version that the epochs of one field give, in order; retired ones are left out."""
    from differencing.algorithms.epoch_choice import plan_versions

    # exposures that end together are told apart by their content, never by their order of arrival
    dated = [image for image in images if image.observation.ended_at is not None]
    dated.sort(key=lambda image: (image.observation.ended_at, _key(image)))
    by_key = {_key(image): image for image in dated}
    retired = retired_digests(survey, band=dated[0].observation.band) if dated else frozenset()

    def recipe(version: Version) -> Recipe:
        former = tuple(by_key[key] for key in version.former)
        return Recipe(
            epochs=tuple(by_key[key] for key in version.selection.keys),
            reason=version.reason,
            former=former,
            version=version.number,
            predicted=_relative(version.selection),
        )

    plan = plan_versions(
        [_epoch(image, has_scale=_has_scale(dated)) for image in by_key.values()],
        _rule(survey),
        is_retired=lambda version: recipe(version).digest in retired,
    )
    return _linked([recipe(version) for version in plan])


def _linked(recipes: Sequence[Recipe]) -> list[Recipe]:
    """Each version with the digest of the one before it."""
    before = ["", *(recipe.digest for recipe in recipes)]
    return [replace(r, former_digest=digest) for r, digest in zip(recipes, before, strict=False)]


def recipe_of_named(images: Sequence[ScienceImage], survey: Survey) -> Recipe:
    """The best of the frames that a person named as template."""
    from differencing.algorithms.epoch_choice import select_epochs

    by_key = {_key(image): image for image in images}
    rule = _rule(survey, n_needed=1)
    epochs = [_epoch(image, has_scale=_has_scale(images)) for image in by_key.values()]
    selection = select_epochs(epochs, rule=rule)
    return Recipe(
        epochs=tuple(by_key[key] for key in selection.keys),
        reason=f"{len(selection.keys)} of {len(images)} frames that a person named as template",
        is_pinned=True,
        predicted=_relative(selection),
    )


def _key(image: ScienceImage) -> str:
    return image.file.sha256 if image.file is not None else str(image.pk)


def _rule(survey: Survey, *, n_needed: int | None = None) -> ChoiceRule:
    from differencing.algorithms.epoch_choice import ChoiceRule

    return ChoiceRule(
        min_epochs=n_needed or survey.reference_min_epochs,
        max_epochs=survey.reference_max_epochs,
        min_gain=survey.reference_min_gain_percent / 100.0,
        rebuild_every=survey.reference_rebuild_every,
        rebuild_gain=survey.reference_rebuild_percent / 100.0,
    )


def _has_scale(images: Sequence[ScienceImage]) -> bool:
    """Whether zero points bring all epochs to one flux scale."""
    return all(image.zero_point is not None for image in images)


def _epoch(image: ScienceImage, *, has_scale: bool) -> Epoch:
    """What the choice needs to know of a calibrated frame; one not measured counts as ordinary."""
    from differencing.algorithms.epoch_choice import Epoch

    scale = 10.0 ** (-0.4 * (image.zero_point or 0.0)) if has_scale else 1.0
    return Epoch(
        key=_key(image), fwhm_pix=image.fwhm_pix or 1.0, sky_noise=(image.sky_noise or 1.0) * scale
    )


def _relative(selection: Selection) -> tuple[float, ...]:
    return tuple(round(noise / selection.noise[0], 4) for noise in selection.noise)
