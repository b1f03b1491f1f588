"""Is it one source or two of opposite sign: both fitted to the pixels of a difference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.optimize import OptimizeResult, minimize

from astrid_site.imaging.photometry import shift_psf

FloatArray = NDArray[np.float32]
Values = NDArray[np.float64]

#: Pixels fitted lie within so many widths of the PSF from the middle.
REACH_FWHM = 2.5
#: Lobes farther apart than this are two things.
MAX_APART_FWHM = 2.5
#: Nearer than this the fluxes of the lobes are not to be told from their distance.
LEAST_APART_FWHM = 0.4
_LEAST_REACH_PIX = 4
_SIGMA_OF_FWHM = 1.0 / 2.3548


@dataclass(frozen=True)
class DipoleFit:
    """Two fits to the same pixels.

    Attributes
    ----------
    dx, dy : float
        From the negative to the positive lobe [pix].
    positive, negative : float
        Fluxes of the lobes [data units]; both positive numbers.
    likelihood_ratio : float
        Twice the logarithm of the likelihood of the dipole over that of the single source; the
        dipole has three parameters more, so that noise alone makes it about 3.
    single_chi2, dipole_chi2 : float
        Sum of the squared pulls of each fit.
    n_pixels : int
        Good pixels fitted.
    """

    dx: float
    dy: float
    positive: float
    negative: float
    likelihood_ratio: float
    single_chi2: float
    dipole_chi2: float
    n_pixels: int

    @property
    def separation_pix(self) -> float:
        """Distance of the lobes [pix]."""
        return float(np.hypot(self.dx, self.dy))


def fit_dipole(
    data: FloatArray,
    variance: FloatArray,
    psf: FloatArray,
    *,
    good: NDArray[np.bool_],
    x: float,
    y: float,
    fwhm_pix: float,
) -> DipoleFit | None:
    """Fit one source, and two of opposite sign, around a position.

    Parameters
    ----------
    data, variance : NDArray[float32], shape (h, w)
        Difference and its variance.
    psf : NDArray[float32], shape (size, size)
        Unit-sum PSF at the position, centred; size odd.
    good : NDArray[bool], shape (h, w)
        Pixels that may be used.
    x, y : float
        Position [pix], 0-based, in these pixels.
    fwhm_pix : float
        Width of the PSF [pix].

    Returns
    -------
    DipoleFit or None
        None where fewer than twelve good pixels are left.

    Notes
    -----
    Fluxes are linear and solved for at every position that the simplex tries, the flux of the
    second lobe held to the opposite sign. Noise counts as independent from pixel to pixel: the
    ratio grows too large by the correlation of the difference.
    """
    reach = max(_LEAST_REACH_PIX, round(REACH_FWHM * fwhm_pix))
    ix, iy = round(x), round(y)
    rows = slice(max(iy - reach, 0), iy + reach + 1)
    columns = slice(max(ix - reach, 0), ix + reach + 1)
    usable = good[rows, columns] & (variance[rows, columns] > 0)
    if int(usable.sum()) < 12:
        return None
    noise = np.sqrt(variance[rows, columns][usable].astype(np.float64))
    corner = (columns.start - ix, rows.start - iy)
    pixels = _Pixels(
        pulls=np.asarray(data[rows, columns][usable] / noise, dtype=np.float64),
        noise=noise,
        usable=usable,
        corner=corner,
        psf=psf,
    )
    start = np.array([x - ix, y - iy])
    single = minimize(
        lambda p: pixels.chi2(p[None, :])[0], start, method="Nelder-Mead", options={"xatol": 0.01}
    )
    part = np.where(usable, data[rows, columns], 0.0)
    smooth = gaussian_filter(part, fwhm_pix * _SIGMA_OF_FWHM)
    extremes = [
        np.array(np.unravel_index(at, part.shape))[::-1] + corner
        for at in (int(smooth.argmax()), int(smooth.argmin()))
    ]
    across = 0.35 * fwhm_pix * _direction(extremes[0] - extremes[1])
    # the extremes of a narrow dipole lie outside of its lobes, those of one source are noise
    starts = [np.concatenate(extremes), np.concatenate([start + across, start - across])]
    best = min((_fit_two(pixels, first, fwhm_pix) for first in starts), key=lambda found: found.fun)
    places = best.x.reshape(2, 2)
    chi2, fluxes = pixels.chi2(places, opposite=True)
    first, second = (places[i] for i in np.argsort(-fluxes))
    return DipoleFit(
        dx=float(first[0] - second[0]),
        dy=float(first[1] - second[1]),
        positive=float(fluxes.max()),
        negative=float(-fluxes.min()),
        likelihood_ratio=max(0.0, float(single.fun) - chi2),
        single_chi2=float(single.fun),
        dipole_chi2=chi2,
        n_pixels=int(usable.sum()),
    )


def _direction(offset: Values) -> Values:
    """A unit vector along an offset."""
    return np.asarray(offset / max(float(np.hypot(*offset)), 1e-9), dtype=np.float64)


def _fit_two(pixels: _Pixels, start: Values, fwhm_pix: float) -> OptimizeResult:
    """The best two lobes near a first guess."""
    near, far = LEAST_APART_FWHM * fwhm_pix, MAX_APART_FWHM * fwhm_pix

    def cost(p: Values) -> float:
        places = p.reshape(2, 2)
        apart = float(np.hypot(*(places[0] - places[1])))
        beyond = max(0.0, apart - far, near - apart)
        return pixels.chi2(places, opposite=True)[0] + 1e3 * beyond**2

    return minimize(
        cost,
        start,
        method="Nelder-Mead",
        options={"xatol": 0.02, "fatol": 0.05, "maxfev": 300},
    )


@dataclass(frozen=True)
class _Pixels:
    """Pulls of the good pixels, and the PSF to model them with."""

    pulls: Values
    noise: Values
    usable: NDArray[np.bool_]
    corner: tuple[int, int]
    psf: FloatArray

    def chi2(self, places: Values, *, opposite: bool = False) -> tuple[float, Values]:
        """Squared pulls left by sources at offsets (n, 2) from the middle pixel, and fluxes."""
        models = np.stack([self._model(place) for place in places]) / self.noise
        normal, right = models @ models.T, models @ self.pulls
        fluxes = np.asarray(np.linalg.lstsq(normal, right, rcond=1e-9)[0], dtype=np.float64)
        if opposite and fluxes[0] * fluxes[1] > 0:
            # lobes of one sign are no dipole: the weaker one is left out
            keep = int(np.argmax(np.abs(fluxes)))
            fluxes = np.zeros(2)
            fluxes[keep] = right[keep] / max(float(normal[keep, keep]), 1e-30)
        left = self.pulls - fluxes @ models
        return float(left @ left), fluxes

    def _model(self, place: Values) -> Values:
        """The PSF at an offset from the middle pixel, on the good pixels."""
        whole = np.rint(place).astype(int)
        part = place - whole
        image = shift_psf(self.psf[None], part[:1], part[1:])[0]
        half = image.shape[0] // 2
        height, width = self.usable.shape
        rows = np.arange(height) + self.corner[1] - whole[1] + half
        columns = np.arange(width) + self.corner[0] - whole[0] + half
        inside = ((rows >= 0) & (rows < len(image)))[:, None] & (
            (columns >= 0) & (columns < len(image))
        )[None, :]
        shown = image[np.clip(rows, 0, len(image) - 1)][:, np.clip(columns, 0, len(image) - 1)]
        return np.asarray(np.where(inside, shown, 0.0)[self.usable], dtype=np.float64)
