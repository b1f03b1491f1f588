"""The nights the feature model is trained on: what is simulated, and what goes wrong."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from astrid_site.imaging.sky_detector import Camera
from astrid_site.imaging.sky_pair import PairConfig
from detection.training.pair_chain import Treatment
from differencing.algorithms.subtraction import SubtractionConfig


@dataclass(frozen=True)
class Regime:
    """One kind of night.

    Attributes
    ----------
    name : str
        What is special about it.
    pair : PairConfig
        Simulation settings; the seed is replaced.
    subtraction : SubtractionConfig
        How the frames are subtracted; weaker settings leave more residuals.
    find_cosmic_rays : bool
        Whether preprocessing looks for cosmic rays.
    n_warm_columns : int
        Unmasked columns of the science frame that read too high.
    n_variable_stars : int
        Stars that change by a tenth to a half.
    aligned : bool
        Whether registration is skipped, so that a turn or a shift stays as misregistration.
    is_swapped : bool
        Whether the transients are in the reference, so that they appear as fading.
    """

    name: str
    pair: PairConfig = field(default_factory=PairConfig)
    subtraction: SubtractionConfig = field(default_factory=SubtractionConfig)
    find_cosmic_rays: bool = True
    n_warm_columns: int = 0
    n_variable_stars: int = 0
    aligned: bool = False
    is_swapped: bool = False

    @property
    def treatment(self) -> Treatment:
        """How its pairs are worked on."""
        return Treatment(self.find_cosmic_rays, self.aligned, self.subtraction)


_BASE = PairConfig(shape=(768, 768), transient_density_per_mpix=120.0, star_density_per_mpix=1500.0)
_MANY_RAYS = Camera(cosmic_rays_per_mpix_100s=80.0)
#: One kernel for the whole frame, and no mask around saturated cores.
_COARSE = SubtractionConfig(method="kernel", spatial_order=0, halo_growth=0.0)

REGIMES = (
    Regime("plain", replace(_BASE, rotation_deg=0.2, shift_pix=(6.4, -3.3), wcs_error_pix=0.3)),
    Regime(
        "science sharper",
        replace(_BASE, reference_fwhm_pix=3.6, science_fwhm_pix=2.6, shift_pix=(-2.5, 4.1)),
        n_variable_stars=15,
    ),
    Regime(
        "crowded",
        replace(_BASE, star_density_per_mpix=9000.0, shift_pix=(3.3, 2.6), flux_ratio=0.5),
        subtraction=_COARSE,
    ),
    Regime("fading, variable stars", _BASE, n_variable_stars=30, is_swapped=True),
    Regime("cosmic rays unmasked", replace(_BASE, camera=_MANY_RAYS), find_cosmic_rays=False),
    Regime(
        "cosmic rays unmasked, sharp",
        replace(_BASE, camera=_MANY_RAYS, science_fwhm_pix=2.4, reference_fwhm_pix=2.8),
        find_cosmic_rays=False,
        is_swapped=True,
    ),
    Regime("warm columns", replace(_BASE, shift_pix=(5.5, 5.5)), n_warm_columns=4),
    Regime(
        "misregistered",
        replace(_BASE, shift_pix=(0.2, -0.2), rotation_deg=0.15, star_density_per_mpix=3000.0),
        subtraction=_COARSE,
        aligned=True,
    ),
    Regime(
        "misregistered, fading",
        replace(_BASE, shift_pix=(-0.2, 0.3), rotation_deg=-0.2, star_density_per_mpix=3000.0),
        subtraction=_COARSE,
        aligned=True,
        is_swapped=True,
    ),
    Regime(
        "bright stars",
        replace(_BASE, star_mag_range=(9.5, 20.0), psf_variation=0.12),
        subtraction=_COARSE,
        n_variable_stars=15,
    ),
)
