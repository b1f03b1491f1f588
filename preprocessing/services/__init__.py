"""Writing science images."""

from preprocessing.services.products import (
    load_image,
    load_stars,
    put_array,
    store_image,
    store_preview,
    store_stars,
)
from preprocessing.services.science import (
    PSF_NONE,
    Companions,
    StageViews,
    given_psf,
    has_psf,
    load_companions,
    load_raw,
    provenance_cards,
    require_psf,
    run_preprocess,
    store_views,
)

__all__ = [
    "PSF_NONE",
    "Companions",
    "StageViews",
    "given_psf",
    "has_psf",
    "load_companions",
    "load_image",
    "load_raw",
    "load_stars",
    "provenance_cards",
    "put_array",
    "require_psf",
    "run_preprocess",
    "store_image",
    "store_preview",
    "store_stars",
    "store_views",
]
