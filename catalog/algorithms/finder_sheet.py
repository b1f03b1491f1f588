"""A finder chart to print: one A4 page that leads from a bright star to the object."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from astropy.wcs import WCS

FloatArray = NDArray[np.float64]

#: Pixels of a drawn square along one side.
SIDE = 240
#: Stars that are named, brightest first.
MAX_STARS = 4
_A4_INCHES = (8.27, 11.69)
#: Lengths a scale bar may have [arcsec].
_BARS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600)


@dataclass(frozen=True)
class OffsetStar:
    """A star, and the way from it to the object.

    Attributes
    ----------
    ra, dec : float
        ICRS degrees.
    east_arcsec, north_arcsec : float
        From the star to the object.
    magnitude : float or None
        AB, of the frame it was measured on.
    """

    ra: float
    dec: float
    east_arcsec: float
    north_arcsec: float
    magnitude: float | None = None

    @property
    def distance_arcsec(self) -> float:
        """To the object."""
        return float(np.hypot(self.east_arcsec, self.north_arcsec))


@dataclass(frozen=True)
class Picture:
    """A square of sky with N up and E left, the object in its middle; NaN where nothing is."""

    title: str
    pixels: FloatArray


@dataclass(frozen=True)
class FinderSheet:
    """All that is printed; ``lines`` are pairs of a heading and what it says."""

    name: str
    coordinates: tuple[str, str]
    size_arcsec: float
    pictures: tuple[Picture, ...]
    stars: tuple[OffsetStar, ...]
    lines: tuple[tuple[str, str], ...]


def tangent_offsets(
    ra: float, dec: float, star_ra: ArrayLike, star_dec: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """East and north of positions on the plane that touches the sky at (ra, dec) [arcsec].

    Parameters
    ----------
    ra, dec : float
        Where the plane touches, ICRS degrees.
    star_ra, star_dec : array_like, shape (n,)
        ICRS degrees, within 90 degrees of it.

    Returns
    -------
    tuple of NDArray[float64], shape (n,)
        Offsets of the positions from (ra, dec).

    References
    ----------
    .. [1] Calabretta & Greisen 2002, A&A 395, 1077, section 5.1.3 (TAN).
    """
    lon0, lat0 = np.radians(ra), np.radians(dec)
    lon = np.radians(np.asarray(star_ra, dtype=np.float64))
    lat = np.radians(np.asarray(star_dec, dtype=np.float64))
    depth = np.sin(lat0) * np.sin(lat) + np.cos(lat0) * np.cos(lat) * np.cos(lon - lon0)
    east = np.cos(lat) * np.sin(lon - lon0) / depth
    north = np.cos(lat0) * np.sin(lat) - np.sin(lat0) * np.cos(lat) * np.cos(lon - lon0)
    return np.degrees(east) * 3600.0, np.degrees(north / depth) * 3600.0


def north_up(
    data: NDArray[Any], wcs: WCS, *, ra: float, dec: float, size_arcsec: float, side: int = SIDE
) -> FloatArray:
    """A square around a position drawn with N up and E left.

    Parameters
    ----------
    data : NDArray, shape (ny, nx)
        NaN where there is nothing.
    wcs : astropy.wcs.WCS
        Of the data.
    ra, dec : float
        Middle of the square, ICRS degrees.
    size_arcsec : float
        Width of the square.
    side : int
        Its pixels along one side.

    Returns
    -------
    NDArray[float64], shape (side, side)
        Row 0 is south; the first column is east. NaN outside of the data.
    """
    from scipy.ndimage import map_coordinates

    half = (np.arange(side) - (side - 1) / 2) * (size_arcsec / side)
    xi, eta = np.radians(-half[None, :] / 3600.0), np.radians(half[:, None] / 3600.0)
    lat0 = np.radians(dec)
    depth = np.cos(lat0) - eta * np.sin(lat0)
    lon = np.radians(ra) + np.arctan2(xi, depth)
    lat = np.arctan2(np.sin(lat0) + eta * np.cos(lat0), np.hypot(xi, depth))
    x, y = wcs.all_world2pix(np.degrees(lon).ravel() % 360.0, np.degrees(lat).ravel(), 0)
    drawn = map_coordinates(
        np.asarray(data, dtype=np.float64), [y, x], order=1, mode="constant", cval=np.nan
    )
    return np.asarray(drawn.reshape(side, side))


def offset_stars(
    ra: float,
    dec: float,
    *,
    star_ra: ArrayLike,
    star_dec: ArrayLike,
    magnitudes: Sequence[float | None],
    size_arcsec: float,
) -> tuple[OffsetStar, ...]:
    """The first few stars in the square, with the way from each to the object at (ra, dec).

    The stars come brightest first. One within 2 arcsec is taken for the object itself.
    """
    east, north = tangent_offsets(ra, dec, star_ra, star_dec)
    reach = 0.48 * size_arcsec
    is_inside = (np.abs(east) < reach) & (np.abs(north) < reach) & (np.hypot(east, north) > 2.0)
    places = np.stack([np.asarray(star_ra, float), np.asarray(star_dec, float)], axis=-1)
    return tuple(
        OffsetStar(
            ra=float(places[i, 0]),
            dec=float(places[i, 1]),
            east_arcsec=float(-east[i]),
            north_arcsec=float(-north[i]),
            magnitude=magnitudes[i],
        )
        for i in np.flatnonzero(is_inside)[:MAX_STARS]
    )


def draw_finder_sheet(sheet: FinderSheet) -> bytes:
    """The page as PDF, black on white; the same sheet gives the same bytes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=_A4_INCHES)
    figure.text(0.08, 0.95, sheet.name, fontsize=17, fontweight="bold")
    for row, words in enumerate(sheet.coordinates):
        figure.text(0.08, 0.925 - 0.02 * row, words, fontsize=12, family="monospace")
    n = len(sheet.pictures)
    width = 0.84 if n == 1 else 0.41
    high = width * _A4_INCHES[0] / _A4_INCHES[1]
    for number, picture in enumerate(sheet.pictures):
        axes = figure.add_axes((0.08 + number * 0.43, 0.86 - high, width, high))
        _draw_picture(axes, picture, sheet, names_stars=number == 0)
    _write_table(figure, sheet, top=0.86 - high - 0.05)
    buffer = io.BytesIO()
    # no date of making: whoever prints it twice gets the same file
    figure.savefig(buffer, format="pdf", metadata={"CreationDate": None, "Title": sheet.name})
    return buffer.getvalue()


def _draw_picture(axes: Any, picture: Picture, sheet: FinderSheet, *, names_stars: bool) -> None:
    half = sheet.size_arcsec / 2
    finite = picture.pixels[np.isfinite(picture.pixels)]
    low, high = np.percentile(finite, [5, 99.7]) if finite.size else (0.0, 1.0)
    axes.imshow(
        picture.pixels,
        cmap="gray_r",
        vmin=low,
        vmax=max(high, low + 1e-12),
        origin="lower",
        extent=(half, -half, -half, half),
        interpolation="nearest",
    )
    axes.set_title(picture.title, fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
    gap, arm = 0.02 * sheet.size_arcsec, 0.07 * sheet.size_arcsec
    axes.plot([-gap, -arm], [0, 0], color="#c00000", lw=1.4)
    axes.plot([0, 0], [gap, arm], color="#c00000", lw=1.4)
    bar = max((b for b in _BARS if b <= sheet.size_arcsec / 4), default=_BARS[0])
    left, bottom = half * 0.9, -half * 0.9
    axes.plot([left, left - bar], [bottom, bottom], color="#0050a0", lw=2)
    axes.text(left, bottom + 0.03 * half, f"{bar}″", color="#0050a0", fontsize=9)
    corner, length = -half * 0.88, half * 0.25
    for dx, dy, word in ((0.0, length, "N"), (length, 0.0, "E")):
        axes.annotate(
            "",
            xy=(corner + dx, bottom + dy),
            xytext=(corner, bottom),
            arrowprops={"arrowstyle": "->", "color": "#0050a0"},
        )
        axes.text(
            corner + 1.25 * dx,
            bottom + 1.25 * dy,
            word,
            color="#0050a0",
            fontsize=9,
            ha="center",
            va="center",
        )
    for number, star in enumerate(sheet.stars if names_stars else (), start=1):
        place = (-star.east_arcsec, -star.north_arcsec)
        axes.plot(*place, "o", mfc="none", mec="#007040", ms=12)
        axes.text(
            place[0] - 0.05 * half,
            place[1] + 0.05 * half,
            f"S{number}",
            color="#007040",
            fontsize=9,
        )


def _write_table(figure: Any, sheet: FinderSheet, *, top: float) -> None:
    at = top
    if sheet.stars:
        figure.text(0.08, at, "From the star to the object", fontsize=11, fontweight="bold")
        head = "      RA (ICRS) Dec            mag    offset E       offset N    distance"
        figure.text(0.08, at - 0.022, head, fontsize=9, family="monospace")
        at -= 0.042
    for number, star in enumerate(sheet.stars, start=1):
        magnitude = "  –  " if star.magnitude is None else f"{star.magnitude:5.2f}"
        words = (
            f"S{number}  {star.ra:10.6f} {star.dec:+10.6f}  {magnitude}  "
            f"{_way(star.east_arcsec, 'E', 'W')}  {_way(star.north_arcsec, 'N', 'S')}  "
            f"{star.distance_arcsec:8.2f}″"
        )
        figure.text(0.08, at, words, fontsize=9, family="monospace")
        at -= 0.02
    at -= 0.015
    for heading, words in sheet.lines:
        figure.text(0.08, at, heading, fontsize=9, fontweight="bold")
        figure.text(0.28, at, words, fontsize=9)
        at -= 0.02


def _way(arcsec: float, forward: str, back: str) -> str:
    return f"{abs(arcsec):8.2f}″ {forward if arcsec >= 0 else back}"
