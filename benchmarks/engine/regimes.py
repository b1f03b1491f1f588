"""The kinds of pair an engine meets: two exposures, what they look at, and how they overlap."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Epoch:
    """One exposure.

    Attributes
    ----------
    fwhm_arcsec, beta : float
        Moffat profile before integration over pixels, at the frame's centre.
    pixel_arcsec : float
        Width of a pixel.
    exposure_s, transparency : float
        What scales the light of the sources; their product also gives the flux ratio of the pair.
    sky_rate : float
        Electrons per second and square arcsecond at the frame's centre.
    gradient : tuple of float
        Relative change of the sky from the centre to the right edge, to the top edge, and of a
        bowl from the centre to the middle of an edge.
    shear : complex
        (a - b) / (a + b) of the profile, and twice its position angle.
    """

    fwhm_arcsec: float
    beta: float
    exposure_s: float
    sky_rate: float
    pixel_arcsec: float = 1.0
    transparency: float = 1.0
    gradient: tuple[float, float, float] = (0.04, -0.03, 0.01)
    shear: complex = 0.02 + 0.01j

    @property
    def response(self) -> float:
        """Relative electrons per source."""
        return self.exposure_s * self.transparency


@dataclass(frozen=True)
class Regime:
    """A pair of exposures and the sky under them.

    Attributes
    ----------
    stars_per_mpix, galaxies_per_mpix, transients_per_mpix : float
        Numbers per million square arcseconds, which are pixels of the science frame.
    n_stars : int or None
        Stars in all, inside the frame, in place of a density.
    star_slope : float
        Stars brighter than m go as ``10 ** (slope * m)``.
    star_magnitudes : tuple of float
        Brightest and faintest.
    overlap : float
        Share of the science frame that the reference covers (before rotation and dither).
    """

    title: str
    reference: Epoch
    science: Epoch
    stars_per_mpix: float = 400.0
    galaxies_per_mpix: float = 150.0
    transients_per_mpix: float = 80.0
    n_stars: int | None = None
    star_slope: float = 0.25
    star_magnitudes: tuple[float, float] = (12.0, 22.5)
    overlap: float = 1.0
    rotation_deg: float = 0.1
    scale: float = 1.0002
    dither_arcsec: tuple[float, float] = (7.3, -4.6)
    astrometric_error_pix: float = 0.05
    bins: tuple[float, ...] = field(
        default=(3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 15.0, 20.0, 30.0, 50.0)
    )

    @property
    def flux_ratio(self) -> float:
        """Science over reference flux of a source [electrons]."""
        return self.science.response / self.reference.response

    @property
    def pixel_ratio(self) -> float:
        """Width of a reference pixel over that of a science pixel."""
        return self.reference.pixel_arcsec / self.science.pixel_arcsec


DEEP = Epoch(fwhm_arcsec=2.3, beta=3.3, exposure_s=90.0, sky_rate=4.0)
SHALLOW = Epoch(
    fwhm_arcsec=3.1,
    beta=3.0,
    exposure_s=30.0,
    transparency=0.81,
    sky_rate=8.0,
    gradient=(-0.05, 0.02, 0.02),
    shear=0.01 - 0.025j,
)
SPARSE = Regime("sparse field", DEEP, SHALLOW)

REGIMES: dict[str, Regime] = {
    "sparse": SPARSE,
    "crowded": replace(
        SPARSE,
        title="crowded, 8,000 stars per Mpix",
        stars_per_mpix=8000.0,
        galaxies_per_mpix=40.0,
        star_slope=0.3,
    ),
    "sharper": replace(
        SPARSE,
        title="science sharper than reference",
        reference=replace(DEEP, fwhm_arcsec=3.1),
        science=replace(SHALLOW, fwhm_arcsec=2.3),
    ),
    "scale-fine": replace(
        SPARSE,
        title="reference pixels half as wide",
        reference=replace(DEEP, pixel_arcsec=0.5),
    ),
    "scale-coarse": replace(
        SPARSE,
        title="reference pixels twice as wide",
        reference=replace(DEEP, pixel_arcsec=2.0, fwhm_arcsec=3.6),
    ),
    "undersampled": replace(
        SPARSE,
        title="undersampled, FWHM 1.4 and 1.6 pixels",
        reference=replace(DEEP, fwhm_arcsec=1.4),
        science=replace(SHALLOW, fwhm_arcsec=1.6),
    ),
    "gradients": replace(
        SPARSE,
        title="strong sky gradients",
        reference=replace(DEEP, gradient=(-0.3, 0.25, 0.15)),
        science=replace(SHALLOW, gradient=(0.5, -0.3, 0.3)),
    ),
    "few-stars": replace(
        SPARSE,
        title="12 stars only",
        n_stars=12,
        star_magnitudes=(15.2, 18.0),
    ),
    "overlap": replace(SPARSE, title="40 % overlap", overlap=0.4),
    "elongated": replace(
        SPARSE,
        title="elongated PSF, axis ratio 1.6",
        science=replace(SHALLOW, shear=0.23 * (0.5 + 0.866j)),
    ),
}
