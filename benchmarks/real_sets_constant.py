"""Constant stars of the SAAO field: the scatter that its frames allow any light curve."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.errors import NoWorkError
from benchmarks.real_sets_pairs import Row
from catalog.algorithms.forced_series import EpochDifference, Position, force_flux
from preprocessing.algorithms.stars import StarList

Values = NDArray[np.float64]

#: The table's fluxes are sums within this radius in each frame's own seeing, uncorrected: its
#: errors are the noise of so many pixels, and its fluxes scale with the PSF's light within it.
APERTURE_PIX = 4.0
#: How far from the event its yardsticks lie [pix]: beyond its light, and on nearly every frame.
NEAREST_PIX, FARTHEST_PIX = 12.0, 200.0
#: Flux [adu] of the event in the table's frame and at its height.
FAINTEST, BRIGHTEST = 4e4, 1.3e5
N_STARS = 40
#: A star seen in fewer frames tells no width.
_MIN_EPOCHS = 20


@dataclass
class ConstantStars:
    """Stars of the event's brightness near it, measured as it is in each frame.

    ``psf`` are forced fluxes in units of their own errors, ``aperture`` the table's sums of pixels
    in units of the errors that the table gives the event in that frame; one list for each star.
    """

    places: list[Position]
    psf: list[list[float]] = field(default_factory=list)
    aperture: list[list[float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """No measurement yet."""
        self.psf = [[] for _ in self.places]
        self.aperture = [[] for _ in self.places]

    def add(self, made: EpochDifference, *, to_table: float, table_error: float) -> None:
        """Measure all of them in one difference.

        ``to_table`` turns the sum of the difference's pixels into the table's.
        """
        for i, place in enumerate(self.places):
            try:
                found = force_flux(made, place)
            except NoWorkError:
                continue
            total = aperture_sum(made.flat.data, found.position)
            if np.isfinite(found.flux) and total is not None:
                self.psf[i].append(found.flux / found.flux_error)
                self.aperture[i].append(total * to_table / table_error)

    def join(self, other: ConstantStars) -> None:
        """Put the measurements of the same stars in other frames behind these."""
        for mine, theirs in zip(self._kinds, other._kinds, strict=True):
            for one, more in zip(mine, theirs, strict=True):
                one.extend(more)

    def summary(self) -> Iterator[Row]:
        """What their light curves scatter by."""
        widths = [[_width(one) for one in kind if len(one) >= _MIN_EPOCHS] for kind in self._kinds]
        if not widths[0]:
            return
        (psf, aperture), n_stars = widths, len(widths[0])
        row = Row("constant stars near the event, of its brightness")
        row.figures = {"psf": float(np.median(psf)), "aperture": float(np.median(aperture))}
        row.answer = (
            f"a curve scatters by {_spread(psf)} of its own errors, and by {_spread(aperture)} of "
            f"the table's errors in the table's aperture (median and quartiles of {n_stars} stars)"
        )
        yield row

    @property
    def _kinds(self) -> tuple[list[list[float]], list[list[float]]]:
        return self.psf, self.aperture


def choose_constant(stars: StarList, event: Position) -> ConstantStars:
    """The stars of the reference nearest to the event of its brightness, variable or not.

    A tenth of them may vary: of the scatters of many the median is that of constant ones.
    """
    distance = np.hypot(stars.x - event.x, stars.y - event.y)
    usable = (distance > NEAREST_PIX) & (distance < FARTHEST_PIX)
    usable &= (stars.flux > FAINTEST) & (stars.flux < BRIGHTEST)
    nearest = np.argsort(np.where(usable, distance, np.inf))[: min(N_STARS, int(usable.sum()))]
    return ConstantStars([Position(float(stars.x[i]), float(stars.y[i])) for i in nearest])


def aperture_sum(data: NDArray[np.float32], at: Position) -> float | None:
    """Sum of a frame's pixels within the table's aperture; None at the frame's border."""
    x, y = round(at.x), round(at.y)
    half = round(2 * APERTURE_PIX)
    around = data[max(y - half, 0) : y + half + 1, max(x - half, 0) : x + half + 1]
    if around.shape != (2 * half + 1, 2 * half + 1):
        return None
    return sum_within(around, at.x - x, at.y - y)


def sum_within(stamp: NDArray[np.float32], dx: float, dy: float) -> float:
    """Sum of the pixels within the aperture around the middle of a stamp, in tenths of pixels."""
    fine = np.kron(stamp.astype(np.float64), np.ones((10, 10))) / 100.0
    offset = (np.arange(fine.shape[0]) + 0.5) / 10.0 - 0.5 - stamp.shape[0] // 2
    inside = np.hypot(offset[:, None] - dy, offset[None, :] - dx) <= APERTURE_PIX
    return float(fine[inside].sum())


def _width(values: list[float]) -> float:
    """Robust width about the median."""
    return float(1.4826 * np.median(np.abs(np.array(values) - np.median(values))))


def _spread(widths: list[float]) -> str:
    low, middle, high = np.percentile(widths, (25.0, 50.0, 75.0))
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"
