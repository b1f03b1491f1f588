"""What the page of calibration shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from preprocessing import selectors
from preprocessing.models import CalibrationFrame, CalibrationMaster, Camera, ScienceImage

#: More are not read by anybody; the page says how many there are.
MAX_MASTERS, MAX_IMAGES, MAX_FRAMES = 60, 50, 64

#: Verdict of a master -> class of its badge.
_BADGES = {"pass": "pass", "first": "pending", "changed": "downgrade"}


@dataclass(frozen=True)
class MasterRow:
    """One master as the table shows it."""

    master: CalibrationMaster
    badge: str
    unit: str
    state: str

    @property
    def noise(self) -> float:
        """Noise of one of its frames: adu, per cent for flats."""
        return 100.0 * self.master.noise if self.master.kind == "flat" else self.master.noise


@dataclass(frozen=True)
class CameraPanel:
    """One camera: its numbers, its masters, what is wrong."""

    camera: Camera
    rows: list[MasterRow]
    n_masters: int
    n_frames: dict[str, int]
    linearity: str
    warnings: list[str]


@dataclass(frozen=True)
class CalibrationPage:
    """Everything on the page."""

    cameras: list[CameraPanel]
    doubtful: list[ScienceImage]


@dataclass(frozen=True)
class MasterPage:
    """One master: what it was made of and what it was used for."""

    row: MasterRow
    frames: list[CalibrationFrame]
    images: list[ScienceImage]
    n_images: int
    numbers: list[tuple[str, Any]]


def calibration_page() -> CalibrationPage:
    """Cameras with their masters, and frames whose gain is doubtful."""
    return CalibrationPage(
        [_panel(camera) for camera in selectors.calibration_cameras()], selectors.doubtful_gains()
    )


def _panel(camera: Camera) -> CameraPanel:
    masters = selectors.masters({"camera": camera.pk})
    counts: dict[str, int] = {}
    for kind in CalibrationFrame.objects.filter(camera=camera).values_list("kind", flat=True):
        counts[kind] = counts.get(kind, 0) + 1
    return CameraPanel(
        camera=camera,
        rows=[master_row(row) for row in masters[:MAX_MASTERS]],
        n_masters=masters.count(),
        n_frames=counts,
        linearity=_linearity(camera),
        warnings=[str(text) for text in camera.warnings],
    )


def _linearity(camera: Camera) -> str:
    """How far the camera is from linear, in words."""
    curve = camera.linearity
    if not curve:
        return ""
    top = float(curve["max_level"])
    loss = top * (float(curve["quadratic"]) + float(curve["cubic"]) * top)
    return f"{100 * loss:+.2f} % at {top:,.0f} adu".replace("-", "\u2212")


def master_row(master: CalibrationMaster) -> MasterRow:
    """One master with the words the table needs."""
    if master.superseded_by_id is not None:
        state = "replaced"
    else:
        state = "in use" if master.is_active else "switched off"
    unit = "%" if master.kind == "flat" else "adu"
    return MasterRow(master, _BADGES[master.verdict], unit, state)


def master_page(master: CalibrationMaster) -> MasterPage:
    """Gather the page of one master."""
    images = selectors.images_made_with(master)
    return MasterPage(
        row=master_row(master),
        frames=list(
            master.frames.select_related("file").order_by("observed_at", "id")[:MAX_FRAMES]
        ),
        images=list(images[:MAX_IMAGES]),
        n_images=images.count(),
        numbers=list(master.numbers.items()),
    )
