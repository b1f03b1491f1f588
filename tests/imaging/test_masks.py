"""Names of the bits of a mask, and that others can read them."""

from __future__ import annotations

import numpy as np
from astropy.io import fits

from astrid_site.imaging.fits_io import write_image
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import FITS_PLANES, MaskPlane, is_bad, plane_cards, plane_names


def test_every_plane_has_one_name_of_its_own():
    assert set(FITS_PLANES) == set(MaskPlane)
    assert len({name for name, _ in FITS_PLANES.values()}) == len(FITS_PLANES)


def test_a_card_holds_the_number_of_the_bit():
    cards = {key.removeprefix("HIERARCH "): number for key, (number, _) in plane_cards().items()}
    assert 1 << cards["MP_SAT"] == MaskPlane.SATURATED
    assert 1 << cards["MP_STREAK"] == MaskPlane.TRAIL
    assert 1 << cards["MP_NO_DATA"] == MaskPlane.NO_DATA


def test_the_mask_of_a_product_names_its_bits(tmp_path):
    mask = np.zeros((60, 70), dtype=np.uint16)
    mask[3, 4] = MaskPlane.TRAIL | MaskPlane.COSMIC_RAY
    image = Image(data=np.ones((60, 70), dtype=np.float32), mask=mask)
    write_image(tmp_path / "product.fits", image, header={}, history=())
    with fits.open(tmp_path / "product.fits") as hdus:
        header, value = hdus["MASK"].header, int(hdus["MASK"].data[3, 4])
    bits = {key[3:]: header[key] for key in header if key.startswith("MP_")}
    assert {name for name, bit in bits.items() if value >> bit & 1} == {"STREAK", "CR"}
    assert plane_names(value) == ["COSMIC_RAY", "TRAIL"]


def test_halo_edge_and_interpolated_pixels_still_carry_flux():
    soft = MaskPlane.STAR_HALO | MaskPlane.EDGE | MaskPlane.INTERPOLATED
    assert not is_bad(np.array([soft], dtype=np.uint16)).any()
    assert is_bad(np.array([MaskPlane.TRAIL], dtype=np.uint16)).all()
