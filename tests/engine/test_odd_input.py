"""Odd input to the subtraction command: it is said, and the result flagged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from tests.engine.command import SHAPE, Files, Run, header_of, refuse, run


def test_a_wcs_off_by_minutes_of_arc_is_said_and_the_stars_are_believed(
    files: Files, good: Run, tmp_path: Path
) -> None:
    header = header_of(files.pair.science)
    frame = files.write(
        tmp_path / "off.fits", files.pair.science.data, CRVAL2=header["CRVAL2"] + 4.0 / 60.0
    )
    done = run(files.reference, frame, tmp_path / "out")
    assert done.record["quality"] == "downgrade"
    assert "WCS is 4.0 arcmin off by the stars" in done.warnings
    assert done.record["registration"]["rms_pix"] < 0.1
    mine, theirs = (
        Table.read(each.output / "candidates.ecsv", format="ascii.ecsv") for each in (done, good)
    )
    assert len(mine) == len(theirs)
    # both lie where the reference has them: the same stars tie both
    assert np.abs(np.array(mine["dec"]) - np.array(theirs["dec"])).max() * 3600.0 < 0.05


def test_a_frame_upside_down_under_its_wcs_is_said_and_differenced(
    files: Files, good: Run, tmp_path: Path
) -> None:
    frame = files.write(tmp_path / "turned.fits", files.pair.science.data[::-1, ::-1].copy())
    done = run(files.reference, frame, tmp_path / "out")
    assert "turned by 180 degrees by the stars" in done.warnings
    assert done.record["quality"] == "downgrade"
    # noise decides of a candidate at the threshold
    assert abs(done.record["n_candidates"] - good.record["n_candidates"]) <= 1


def write_extensions(files: Files, path: Path, planes: dict[str, np.ndarray]) -> Path:
    """The science frame's header above each of several planes of one file."""
    header = header_of(files.pair.science)
    hdus = [fits.ImageHDU(data, header, name=name) for name, data in planes.items()]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    return path


def test_one_of_several_detectors_is_taken_only_if_it_is_named(
    files: Files, tmp_path: Path
) -> None:
    data = files.pair.science.data
    halves = {"CCD1": data[:128].copy(), "CCD2": data[128:].copy()}
    mosaic = write_extensions(files, tmp_path / "mosaic.fits", halves)
    said = refuse(files.reference, mosaic, tmp_path / "out")
    assert "holds 2 images" in said
    assert "1 CCD1, 2 CCD2" in said
    assert "--science-hdu" in said
    # the header of both halves is that of the whole: it is right for the lower one
    done = run(files.reference, mosaic, tmp_path / "out", "--science-hdu", "CCD1")
    with fits.open(done.output / "difference.fits") as difference:
        assert difference[0].data.shape == (128, 256)


def test_noise_and_mask_beside_the_image_are_used_and_said(
    files: Files, good: Run, tmp_path: Path
) -> None:
    data = files.pair.science.data
    quality = np.zeros(SHAPE, np.int16)
    quality[100:110] = 4
    sky = 1.4826 * np.median(np.abs(data - np.median(data)))
    planes = {"SCI": data, "ERR": np.full(SHAPE, 2.0 * sky, np.float32), "DQ": quality}
    path = write_extensions(files, tmp_path / "mef.fits", planes)
    done = run(files.reference, path, tmp_path / "out")
    notes = done.record["notes"]
    assert "science: its mask is HDU 3 DQ of the same file" in notes
    assert "science: its noise is HDU 2 ERR of the same file" in notes
    with fits.open(done.output / "score.fits") as score:
        assert (score[0].data[100:110] == 0.0).all()
    # a noise of twice the truth is propagated as given, and found out on blank sky
    widths = [each.record["metrics"]["pull_width_propagated"] for each in (done, good)]
    assert widths[0] < 0.8 * widths[1]
    # given in a file of its own, it goes before what lies beside the image
    other = tmp_path / "noise.fits"
    fits.PrimaryHDU(np.full(SHAPE, sky, np.float32)).writeto(other)
    given = run(files.reference, path, tmp_path / "given", "--science-noise", other)
    assert not any("ERR" in note for note in given.record["notes"])


def test_masks_of_any_number_type_mean_the_same(files: Files, tmp_path: Path) -> None:
    tables = []
    for kind, value in ((np.int32, -5), (np.uint64, 2**63 + 5), (np.float64, np.nan)):
        mask = np.zeros(SHAPE, kind)
        mask[100:110] = value
        path = tmp_path / f"{np.dtype(kind).name}.fits"
        fits.PrimaryHDU(mask).writeto(path)
        done = run(files.reference, files.science, tmp_path / path.stem, "--science-mask", path)
        with fits.open(done.output / "score.fits") as score:
            assert (score[0].data[100:110] == 0.0).all()
        tables.append(Table.read(done.output / "candidates.ecsv", format="ascii.ecsv"))
    assert len({tuple(np.round(table["score"], 3)) for table in tables}) == 1


def test_of_a_file_that_holds_an_image_its_mask_is_taken_or_asked_for(
    files: Files, tmp_path: Path
) -> None:
    data, quality = files.pair.science.data, np.zeros(SHAPE, np.int16)
    quality[100:110] = 4
    both = write_extensions(files, tmp_path / "both.fits", {"SCI": data, "DQ": quality})
    done = run(files.reference, files.science, tmp_path / "out", "--science-mask", both)
    assert "science: the mask is HDU 2 DQ of both.fits" in done.record["notes"]
    with fits.open(done.output / "score.fits") as score:
        assert (score[0].data[100:110] == 0.0).all()
        assert (score[0].data[120:200] != 0.0).mean() > 0.7
    errors = np.full(SHAPE, 20.0, np.float32)
    none = write_extensions(files, tmp_path / "none.fits", {"SCI": data, "ERR": errors})
    said = refuse(files.reference, files.science, tmp_path / "no", "--science-mask", none)
    assert "but no mask" in said
    told = run(files.reference, files.science, tmp_path / "noise", "--science-noise", none)
    assert "science: the noise is HDU 2 ERR of none.fits" in told.record["notes"]
    assert "but no noise" in refuse(
        files.reference, files.science, tmp_path / "no", "--science-noise", both
    )


@pytest.mark.parametrize("gain", [1e6, 1e-6])
def test_a_gain_that_the_sky_contradicts_is_said_and_not_used(
    files: Files, good: Run, tmp_path: Path, gain: float
) -> None:
    frame = files.write(tmp_path / "gain.fits", files.pair.science.data, GAIN=gain)
    done = run(files.reference, frame, tmp_path / "out")
    assert "contradicts the sky's noise" in done.warnings
    assert "that is used" in done.warnings
    assert any("contradicts the sky's noise" in note for note in done.record["notes"])
    assert "contradicts" not in good.warnings
    assert done.record["quality"] == "downgrade"
    assert good.record["quality"] == "pass"
    assert good.record["metrics"]["gain_factor"] < 1.4
    scores = [
        np.array(Table.read(each.output / "candidates.ecsv", format="ascii.ecsv")["score"])
        for each in (done, good)
    ]
    assert len(scores[0]) == len(scores[1])
    # the gain of the sky is that of the camera to 10 %, and enters as the noise of the sources
    assert np.abs(scores[0] / scores[1] - 1.0).max() < 0.05


@pytest.mark.parametrize("factor", [0.5, 2.0, 3.0])
def test_a_gain_twice_off_is_said(files: Files, tmp_path: Path, factor: float) -> None:
    true = files.pair.science.gain
    assert true is not None
    cards = {"GAIN": factor * true, "RDNOISE": files.pair.science.read_noise or 5.0}
    frame = files.write(tmp_path / "gain.fits", files.pair.science.data, **cards)
    done = run(files.reference, frame, tmp_path / "out")
    assert f"gain of {factor * true:.3g} electrons per unit contradicts" in done.warnings
    assert "that is used" not in done.warnings
    assert done.record["quality"] == "downgrade"
    # photon transfer on this sky is good to 10 %
    off = done.record["metrics"]["gain_factor"]
    assert off == pytest.approx(max(factor, 1.0 / factor), rel=0.1)
    assert f"gain_factor {off:.3g} is outside 0 to 1.4" in done.record["quality_reasons"]


@pytest.mark.parametrize("gain", [0.0, -2.0])
def test_a_gain_that_cannot_be_is_said_and_not_used(
    files: Files, tmp_path: Path, gain: float
) -> None:
    frame = files.write(tmp_path / "gain.fits", files.pair.science.data, GAIN=gain)
    assert "it is not used" in run(files.reference, frame, tmp_path / "out").warnings


def test_different_bands_are_said(files: Files, good: Run, tmp_path: Path) -> None:
    frames = [
        files.write(tmp_path / f"{band}.fits", image.data, FILTER=band)
        for band, image in (("r", files.pair.reference), ("g", files.pair.science))
    ]
    done = run(*frames, tmp_path / "out")
    assert "the reference is of band r, the science image of band g" in done.warnings
    assert "n_other_bands 1 is outside 0 to 0" in done.record["quality_reasons"]
    assert done.record["quality"] == "downgrade"
    assert "band" not in good.warnings
    assert good.record["metrics"]["n_other_bands"] is None
    same = files.write(tmp_path / "same.fits", files.pair.science.data, FILTER="r")
    done = run(frames[0], same, tmp_path / "out-same")
    assert done.record["metrics"]["n_other_bands"] == 0
    assert done.record["quality"] == "pass"


def test_the_depth_of_the_difference_is_told(files: Files, tmp_path: Path) -> None:
    frame = files.write(tmp_path / "zp.fits", files.pair.science.data, MAGZERO=25.0)
    done = run(files.reference, frame, tmp_path / "out")
    table = Table.read(done.output / "candidates.ecsv", format="ascii.ecsv")
    flux, magnitude = (done.record[f"limiting_{n}"] for n in ("flux_5sigma", "magnitude"))
    assert table.meta["limiting_flux_5sigma"] == pytest.approx(flux)
    assert magnitude == pytest.approx(25.0 - 2.5 * np.log10(flux))
    # the truth: what the simulated sky and PSFs allow the faint sources that were put in
    truth = files.pair.truth
    snr = np.array(truth["snr_difference"])
    faint = (snr > 4.0) & (snr < 12.0) & ~np.array(truth["masked"])
    assert faint.sum() >= 2
    # they have photons of their own: the sky alone is a little deeper
    ideal = float(np.median(5.0 * np.abs(np.array(truth["flux_adu"]))[faint] / snr[faint]))
    assert 0.93 * ideal < flux < 1.05 * ideal


@pytest.fixture(scope="module")
def sparse(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[int], tuple[Path, Path]]:
    """Frames of so many stars on plain sky, every one alike but for its noise."""
    folder = tmp_path_factory.mktemp("sparse")

    def draw(n_stars: int, seed: int) -> Path:
        rng, places = np.random.default_rng(seed), np.random.default_rng(5)
        y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
        sky = np.full(SHAPE, 400.0)
        for row in places.permutation(25)[:n_stars]:
            at_x, at_y = 30 + 48 * (row % 5), 30 + 48 * (row // 5)
            sky += 3000.0 * np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / (2 * 1.4**2))
        path = folder / f"{n_stars}-{seed}.fits"
        header = header_of_plain()
        fits.PrimaryHDU(rng.poisson(sky).astype(np.float32), header).writeto(path, overwrite=True)
        return path

    return lambda n_stars: (draw(n_stars, 1), draw(n_stars, 2))


def header_of_plain() -> fits.Header:
    return fits.Header({"GAIN": 1.0, "RDNOISE": 0.0, "SATURATE": 60000.0})


@pytest.mark.parametrize(("n_stars", "is_doubted"), [(6, True), (9, True), (14, False)])
def test_a_psf_of_few_stars_is_used_said_and_never_passes(
    sparse: Callable[[int], tuple[Path, Path]], tmp_path: Path, n_stars: int, is_doubted: bool
) -> None:
    done = run(*sparse(n_stars), tmp_path / "out")
    said = f"science: the PSF rests on {n_stars} stars; 10 make one to rely upon"
    assert (said in done.warnings) is is_doubted
    assert (said in done.record["notes"]) is is_doubted
    assert (done.record["quality"] == "pass") is not is_doubted


def test_reversed_epochs_are_said(files: Files, tmp_path: Path) -> None:
    dated = {
        year: files.write(
            tmp_path / f"{year}.fits",
            (files.pair.reference if year == 2025 else files.pair.science).data,
            DATE_OBS=f"{year}-01-01T00:00:00",
        )
        for year in (2024, 2025)
    }
    done = run(dated[2025], dated[2024], tmp_path / "out")
    assert "the reference was taken after the science image" in done.warnings
    assert any("was taken after" in note for note in done.record["notes"])
    table = Table.read(done.output / "candidates.ecsv", format="ascii.ecsv")
    assert any("was taken after" in note for note in table.meta["notes"])


def test_infinite_pixels_are_masked_and_make_no_sources(files: Files, tmp_path: Path) -> None:
    data = files.pair.science.data.astype(np.float64)
    data[50:60, 50:60], data[100, 100], data[120, 130] = np.inf, -np.inf, 1e300
    done = run(files.reference, files.write(tmp_path / "inf.fits", data), tmp_path / "out")
    assert "science: 102 pixels are infinite or beyond single precision" in done.warnings
    with fits.open(done.output / "difference.fits") as difference:
        assert np.isfinite(difference[0].data).all()
        assert (difference["MASK"].data[50:60, 50:60] & 1).all()
    table = Table.read(done.output / "candidates.ecsv", format="ascii.ecsv")
    for x, y in ((55, 55), (100, 100), (130, 120)):
        assert (np.hypot(table["x"] - x, table["y"] - y) > 8.0).all()


def test_frames_of_different_shape_and_without_wcs_are_compared_where_they_meet(
    files: Files, tmp_path: Path
) -> None:
    path = tmp_path / "part.fits"
    fits.PrimaryHDU(files.pair.science.data[:200, :220]).writeto(path)
    done = run(files.reference, path, tmp_path / "out")
    assert done.record["registration"]["method"] == "stars"
    assert "science: the header has no world coordinates" in done.warnings
    with fits.open(done.output / "difference.fits") as difference:
        assert difference[0].data.shape == (200, 220)


def test_one_frame_twice_is_said(files: Files, tmp_path: Path) -> None:
    done = run(files.science, files.science, tmp_path / "out")
    assert done.record["n_candidates"] == 0
    assert done.record["quality"] == "fail"
    assert "both images hold the same noise" in done.warnings


def test_fringes_are_said_and_downgrade(files: Files, good: Run, tmp_path: Path) -> None:
    rows, columns = np.indices(SHAPE)
    wave = np.sin(2.0 * np.pi * (0.4 * rows + columns) / 40.0)
    data = files.pair.science.data + 8.0 * wave.astype(np.float32)
    done = run(files.reference, files.write(tmp_path / "fringes.fits", data), tmp_path / "out")
    assert "a background pattern" in " ".join(done.record["notes"])
    assert done.record["quality"] == "downgrade"
    told = [each for each in done.record["quality_reasons"] if each.startswith("pattern_height")]
    assert len(told) == 1
    # the top of a wave over the mean beside it, in units of the sky's noise of some 20
    assert 0.2 < done.record["metrics"]["pattern_height"] < 1.0
    assert good.record["metrics"]["pattern_height"] == 0.0
