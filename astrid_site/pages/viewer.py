"""What the full-frame viewer is told: layers, mask planes, world coordinates, candidates."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from astrid_site.core.models import StoredFile
from astrid_site.core.templatetags.astro import probability, signed
from astrid_site.imaging.display import MISSING_COLOUR, colormap_table
from astrid_site.imaging.masks import plane_colours
from astrid_site.imaging.pyramid import MASK, MISSING, SOFTENING, TILE, Views
from astrid_site.pages.view_files import open_views, parts_url, stored_views
from catalog.models import ObjectDetection
from detection.models import Detection
from detection.pages import plane_label
from observations.models import Observation

#: Candidates marked on a frame; those that passed every cut first.
MAX_MARKS = 500
#: Layers that only serve the signal-to-noise ratio of another one.
_UNLISTED = frozenset({"template-noise", "difference-noise"})
_LABELS = {
    "science": "Science",
    "template": "Reference",
    "difference": "Difference",
    "score": "Score",
    "raw": "Raw",
    "background": "Background",
    "noise": "Noise",
    "template-noise": "Noise of the reference",
    "difference-noise": "Noise of the difference",
}
#: Units that have a sign.
_UNIT_LABELS = {"sigma": "σ"}


@dataclass(frozen=True)
class PlaneRow:
    """One plane of the mask, as a box to tick."""

    name: str
    label: str
    bit: int
    colour: tuple[int, int, int]


@dataclass(frozen=True)
class Mark:
    """One candidate on the frame."""

    x: float
    y: float
    label: str
    note: str
    url: str
    is_kept: bool


@dataclass(frozen=True)
class ViewerPage:
    """Everything on the page."""

    width: int
    height: int
    layers: list[dict[str, Any]]
    planes: list[PlaneRow]
    missing: tuple[int, int, int]
    marks: list[Mark]
    n_candidates: int
    state: dict[str, Any]

    @property
    def state_json(self) -> str:
        """The state for the script, which reads it from an attribute of the page."""
        return json.dumps(self.state)


def viewer_page(observation: Observation, *, may_vet: bool) -> ViewerPage | None:
    """Gather the page; None where no worker made tiles of the observation."""
    files = stored_views(observation)
    if "preprocess" not in files:
        return None
    opened = {stage: open_views(stored) for stage, stored in files.items()}
    layers = [
        _layer(observation, stage, files[stage], name=name, views=views)
        for stage, views in opened.items()
        for name in views.layer_names
    ]
    layers.sort(key=lambda layer: list(_LABELS).index(layer["name"]))
    listed = [layer for layer in layers if layer["isListed"]]
    height, width = opened["preprocess"].index["shape"]
    found = Detection.objects.filter(observation=observation)
    marks = _marks(found, may_vet=may_vet)
    planes = plane_rows()
    state = {
        "shape": [height, width],
        "tile": TILE,
        "softening": SOFTENING,
        "missing": MISSING,
        "missingColour": MISSING_COLOUR,
        "colours": {
            name: colormap_table(name)[::17].tolist() for name in ("gray", "diverging", "cividis")
        },
        "layers": layers,
        "masks": {
            stage: _source(observation, stage, files[stage], views.layer(MASK))
            for stage, views in opened.items()
        },
        "planes": [{"bit": p.bit, "label": p.label, "colour": p.colour} for p in planes],
        # the difference's world coordinates were tied to the reference, so they come first
        "sky": next(
            (v.facts["sky"] for v in reversed(opened.values()) if v.facts.get("sky")), None
        ),
        "marks": [
            {
                "x": round(m.x, 2),
                "y": round(m.y, 2),
                "url": m.url,
                "label": m.label,
                "note": m.note,
                "kept": m.is_kept,
            }
            for m in marks
        ],
    }
    return ViewerPage(
        width=width,
        height=height,
        layers=listed,
        planes=planes,
        missing=MISSING_COLOUR,
        marks=marks,
        n_candidates=found.count(),
        state=state,
    )


def plane_rows() -> list[PlaneRow]:
    """Every plane that a mask can have, lowest bit first."""
    return [
        PlaneRow(name=str(plane.name), label=plane_label(plane), bit=int(plane), colour=colour)
        for plane, colour in plane_colours().items()
    ]


def _layer(
    observation: Observation, stage: str, stored: StoredFile, *, name: str, views: Views
) -> dict[str, Any]:
    layer = views.layer(name)
    return {
        **_source(observation, stage, stored, layer),
        "label": _LABELS[name],
        "isListed": name not in _UNLISTED,
        "unit": layer["facts"]["unit"],
        "unitLabel": _UNIT_LABELS.get(layer["facts"]["unit"], layer["facts"]["unit"]),
        "limits": layer["facts"]["limits"],
        "isSigned": layer["facts"]["is_signed"],
        "noise": layer["facts"]["noise"],
        "colours": {"score": "diverging", "background": "cividis"}.get(name, "gray"),
        "mask": stage,
    }


def _source(
    observation: Observation, stage: str, stored: StoredFile, layer: dict[str, Any]
) -> dict[str, Any]:
    """Where the tiles of a layer are."""
    return {
        "name": layer["name"],
        "url": parts_url(observation, stage, stored) + layer["name"],
        "levels": [
            {"shape": level["shape"], "step": level.get("step")} for level in layer["levels"]
        ],
    }


def _marks(found: Any, *, may_vet: bool) -> list[Mark]:
    chosen = list(found.order_by("-is_kept", "-real_bogus", "-score", "id")[:MAX_MARKS])
    links = ObjectDetection.objects.filter(detection__in=chosen).select_related("astro_object")
    owners = {link.detection_id: link.astro_object for link in links}
    return [_mark(row, owners.get(row.pk), may_vet=may_vet) for row in chosen]


def _mark(row: Detection, owner: Any, *, may_vet: bool) -> Mark:
    url = ""
    if may_vet:
        url = reverse("curation:vet_candidate", args=[row.pk])
    elif owner is not None:
        url = reverse("catalog:detail", args=[owner.pk])
    scored = f", model {probability(row.real_bogus)}" if row.real_bogus is not None else ""
    note = f"{signed(row.score)} σ{scored}" + ("" if row.is_kept else ", failed a cut")
    label = owner.name if owner is not None else f"candidate {row.index + 1}"
    return Mark(row.x, row.y, label, note, url, row.is_kept)
