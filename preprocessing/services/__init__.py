"""Writing calibration frames, masters and science images."""

from preprocessing.services.catalogs import import_catalog, read_catalog
from preprocessing.services.intake import BUILD_KIND, request_build, take_calibration_frame
from preprocessing.services.masters import BuildResult, build_masters, run_build_job
from preprocessing.services.products import (
    load_image,
    load_stars,
    put_array,
    store_image,
    store_preview,
    store_stars,
)
from preprocessing.services.raw_frames import (
    Companions,
    given_psf,
    load_companions,
    load_raw,
)
from preprocessing.services.science import (
    PSF_NONE,
    PSF_OF_FEW_STARS,
    VIEWS_TYPE,
    StageViews,
    calibrate_frame,
    has_psf,
    provenance_cards,
    redraw,
    require_psf,
    run_preprocess,
    store_views,
)

__all__ = [
    "BUILD_KIND",
    "PSF_NONE",
    "PSF_OF_FEW_STARS",
    "VIEWS_TYPE",
    "BuildResult",
    "Companions",
    "StageViews",
    "build_masters",
    "calibrate_frame",
    "given_psf",
    "has_psf",
    "import_catalog",
    "load_companions",
    "load_image",
    "load_raw",
    "load_stars",
    "provenance_cards",
    "put_array",
    "read_catalog",
    "redraw",
    "request_build",
    "require_psf",
    "run_build_job",
    "run_preprocess",
    "store_image",
    "store_preview",
    "store_stars",
    "store_views",
    "take_calibration_frame",
]
