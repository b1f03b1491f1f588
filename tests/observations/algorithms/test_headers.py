"""Headers of all kinds become one record: honest nulls, named defects, times in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from astrid_site.imaging.fits_io import read_header
from observations.algorithms.headers import ObservationMetadata, read_metadata


def read(header: dict[str, object], **options: object) -> ObservationMetadata:
    options = {"keywords": None, "file_name": "x.fits"} | options
    return read_metadata(header, **options)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_an_empty_header_gives_nulls_and_no_defects() -> None:
    record = read({})
    known = {k: v for k, v in vars(record).items() if v not in (None, (), False)}
    assert known == {"band_source": "unknown: neither header nor file name says"}


TIMES = [
    ({"DATE-OBS": "2018-08-04T09:23:31.5"}, "2018-08-04T09:23:31.5"),
    ({"DATE-OBS": "2018-08-04T09:23:31Z"}, "2018-08-04T09:23:31"),
    ({"DATE-OBS": "2013-06-27", "UT": "23:13:12"}, "2013-06-27T23:13:12"),
    ({"DATE-OBS": "2013-06-27", "TIME-OBS": "23:13:12.25"}, "2013-06-27T23:13:12.250"),
    ({"DATE-OBS": "26/07/92", "TIME-OBS": "19:36:37"}, "1992-07-26T19:36:37"),
    ({"DATE-OBS": "2016/09/09 08:14:34"}, "2016-09-09T08:14:34"),
    ({"MJD-OBS": 57640.5}, "2016-09-09T12:00:00"),
    ({"MJD-OBS": "57640.5"}, "2016-09-09T12:00:00"),
    ({"OBSJD": 2457641.0}, "2016-09-09T12:00:00"),
    ({"DATE-BEG": "2016-09-09T12:00:00", "DATE-OBS": "2016-09-09T12:00:01"}, "2016-09-09T12:00:01"),
    ({"DATE-BEG": "2016-09-09T12:00:00"}, "2016-09-09T12:00:00"),
    ({"DATE-OBS": "2016-09-09", "DATE-BEG": "2016-09-09T12:00:00"}, "2016-09-09T12:00:00"),
    # 37 s between TAI and UTC since 2017, 32 s in 2003; TT is TAI + 32.184 s
    ({"DATE-OBS": "2018-08-04T09:23:37", "TIMESYS": "TAI"}, "2018-08-04T09:23:00"),
    ({"DATE-OBS": "2003-08-21", "TAIHMS": "09:47:01.48", "TIMESYS": "TAI"},
     "2003-08-21T09:46:29.480"),
    ({"DATE-OBS": "2018-08-04T09:24:09.184", "TIMESYS": "TT"}, "2018-08-04T09:23:00"),
    ({"DATE-OBS": "2018-08-04T09:23:18", "TIMESYS": "GPS"}, "2018-08-04T09:23:00"),
    ({"MJD-OBS": 58334.5 + 37 / 86400, "TIMESYS": "TAI"}, "2018-08-04T12:00:00"),
]  # fmt: skip


@pytest.mark.parametrize(("header", "expected"), TIMES)
def test_every_spelling_of_a_start_is_read_in_utc(header: dict[str, object], expected: str) -> None:
    record = read(header)
    assert record.observed_at is not None
    assert record.observed_at.utcoffset() == timedelta(0)
    # a day number in a double resolves about 1 microsecond
    assert abs(record.observed_at - utc(expected)) < timedelta(microseconds=20)
    assert record.defects == ()


BAD_TIMES = [
    ({"DATE-OBS": "26/07/102", "TIME-OBS": "19:36:37"}, "2002-07-26T19:36:37", "counts years from"),
    ({"DATE-OBS": "2018-08-04"}, "2018-08-04T00:00:00", "no time of day"),
    ({"DATE-OBS": "2016-12-31T23:59:60"}, "2017-01-01T00:00:00", "leap second"),
    ({"DATE-OBS": "2018-13-04T00:00:00"}, None, "impossible"),
    ({"DATE-OBS": "9999-01-01T00:00:00"}, None, "impossible"),
    ({"DATE-OBS": "0000-00-00"}, None, "impossible"),
    ({"DATE-OBS": "2018-08-04T25:00:00"}, None, "no time of day"),
    ({"DATE-OBS": "yesterday"}, None, "no date"),
    ({"MJD-OBS": 1e9}, None, "no date"),
    ({"DATE-OBS": "2018-08-04T00:00:00", "TIMESYS": "MARS"}, "2018-08-04T00:00:00", "MARS"),
    ({"DATE-OBS": "2018-08-04T00:00:00", "MJD-OBS": 58335.5}, "2018-08-04T00:00:00", "differ by"),
]


@pytest.mark.parametrize(("header", "expected", "defect"), BAD_TIMES)
def test_a_bad_time_is_named_and_never_silently_wrong(
    header: dict[str, object], expected: str | None, defect: str
) -> None:
    record = read(header)
    assert record.observed_at == (utc(expected) if expected else None)
    assert any(defect in found for found in record.defects), record.defects


def test_a_date_in_the_future_is_a_defect_only_where_the_time_is_known() -> None:
    header = {"DATE-OBS": "2030-01-01T00:00:00"}
    assert read(header).defects == ()
    assert read(header, now=utc("2026-01-01")).defects == ("the date lies in the future",)
    assert read(header, now=utc("2031-01-01")).defects == ()


def test_end_and_middle_follow_from_the_exposure_or_are_read() -> None:
    start = {"DATE-OBS": "2018-08-04T00:00:00", "EXPTIME": 330.0}
    record = read(start)
    assert record.ended_at == utc("2018-08-04T00:05:30")
    assert record.mid_mjd == pytest.approx(58334.0 + 165 / 86400, abs=1e-9)
    record = read(start | {"DATE-END": "2018-08-04T00:06:00", "MJD-AVG": 58334.002})
    assert record.ended_at == utc("2018-08-04T00:06:00")
    assert record.mid_mjd == pytest.approx(58334.002, abs=1e-9)
    record = read(start | {"DATE-END": "2018-08-03T00:00:00"})
    assert record.ended_at == utc("2018-08-04T00:05:30")
    assert "the exposure ends before it starts" in record.defects


@pytest.mark.parametrize(
    ("card", "field", "defect"),
    [
        ({"EXPTIME": -60.0}, "exposure_s", "exposure is negative"),
        ({"EXPTIME": 0}, "exposure_s", "exposure is zero"),
        ({"EXPTIME": "NaN"}, "exposure_s", "exposure is not a number"),
        ({"EXPTIME": 1e12}, "exposure_s", "exposure is out of range"),
        ({"GAIN": 0.0}, "gain", "gain is zero"),
        ({"GAIN": "low"}, "gain", "gain is not a number"),
        ({"RDNOISE": -5.0}, "read_noise", "read noise is negative"),
        ({"SATURATE": 0}, "saturation", "saturation is zero"),
        ({"AIRMASS": 0.2}, "airmass", "airmass is out of range"),
        ({"MAGZP": 0.0}, "zero_point", "zero point is zero"),
        ({"PIXSCALE": -1.0}, "pixel_scale_arcsec", "pixel scale is negative"),
    ],
)
def test_an_impossible_number_is_null_and_named(
    card: dict[str, object], field: str, defect: str
) -> None:
    record = read(card)
    assert getattr(record, field) is None
    assert any(found.startswith(defect) for found in record.defects), record.defects


def test_numbers_are_read_also_from_text() -> None:
    record = read({"EXPTIME": "53.907456", "GAIN": 2, "AIRMASS": 1.2, "RDNOISE": 0.0})
    assert (record.exposure_s, record.gain, record.airmass) == (53.907456, 2.0, 1.2)
    assert record.read_noise == 0.0


def test_a_surveys_keywords_replace_the_default_ones() -> None:
    header = {"GAIN": 4.0, "GAINA": 3.98, "FILTPOS": "r", "FILTER": "g", "FRAME": 12}
    keywords = {"gain": ["GAINA"], "band": ["FILTPOS"], "observation_id": ["FRAME"]}
    record = read(header, keywords=keywords)
    assert (record.gain, record.band, record.band_source) == (3.98, "r", "header FILTPOS")
    assert record.observation_id == "12"
    assert read({"GAIN": 4.0}, keywords=keywords).gain is None
    with pytest.raises(ValueError, match="exposure_seconds"):
        read({}, keywords={"exposure_seconds": ["T"]})


def test_units_that_are_calibrated_by_definition_give_the_zero_point() -> None:
    assert read({"BUNIT": "nanomaggy"}).zero_point == 22.5
    # 1 MJy/sr over 2.23e-14 sr is 22.3 nJy: 8.90 - 2.5 log10(2.23e-8) = 28.03 AB
    assert read({"BUNIT": "MJy/sr", "PIXAR_SR": 2.23e-14}).zero_point == pytest.approx(
        28.03, abs=5e-3
    )
    assert read({"BUNIT": "MJy/sr"}).zero_point is None


def test_the_wcs_gives_the_pixel_scale_before_any_card() -> None:
    wcs = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 1.0, "CRVAL2": 2.0}
    wcs |= {"CDELT1": -1.0 / 3600, "CDELT2": 1.0 / 3600, "PIXSCALE": 7.0}
    assert read(wcs).pixel_scale_arcsec == pytest.approx(1.0)


def test_a_simulated_frame_says_so() -> None:
    assert read({"SIMULATE": True}).is_simulated
    assert not read({"SIMULATE": "yes"}).is_simulated


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("decam_2018_transient/input_data/DEC-OBS04a.mini.fits",
         {"band": "i", "exposure_s": 330.0, "airmass": 1.65,
          "observed_at": utc("2018-08-04T09:23:31.598174")}),
        ("spiral_3surveys/SDSS_g.fits",
         {"band": "g", "exposure_s": 53.907456, "zero_point": 22.5, "unit": "nanomaggy",
          "observed_at": utc("2003-08-21T09:46:29.480")}),
        ("spiral_3surveys/PS1_z.fits", {"band": "z", "telescope": "PS1"}),
        ("spiral_3surveys/DES_r.fits", {"band": "r", "exposure_s": 450.0}),
        ("saao_microlensing_kb13475/AKB13475I0001.fits",
         {"target": "KB13475", "gain": 1.9, "read_noise": 5.0, "band": None, "airmass": 1.023,
          "observed_at": utc("2013-06-27T23:13:12")}),
        ("eso085_same_night_pair/aligned_eso085-030-004.fit",
         {"band": "clear", "exposure_s": 60.0, "observed_at": utc("2015-12-27T06:26:24")}),
        ("single_frames_dev/ystar_satellite_streak.fits",
         {"band": "R", "observed_at": utc("2002-07-26T19:36:37")}),
    ],
)  # fmt: skip
def test_real_headers_are_read(test_data: Path, name: str, expected: dict[str, object]) -> None:
    path = test_data / name
    record = read(read_header(path).header, file_name=path.name)
    found = {field: getattr(record, field) for field in expected}
    assert found == expected


def test_a_copied_start_months_off_gives_way_and_both_are_said() -> None:
    header = {
        "DATE-BEG": "2022-11-15T10:00:00",
        "DATE-END": "2022-11-15T10:10:00",
        "MJD-AVG": 59898.42,
        "DATE-OBS": "2023-07-29",
        "TIME-OBS": "05:06:07",
        "MJD-OBS": 60154.2125810185,
        "EXPTIME": 600.0,
    }
    record = read(header)
    assert record.observed_at == utc("2023-07-29T05:06:07")
    assert record.ended_at == utc("2023-07-29T05:16:07")
    assert record.mid_mjd == pytest.approx(60154.2125810185 + 300 / 86400, abs=1e-7)
    said = next(text for text in record.defects if "DATE-BEG" in text)
    assert "2023-07-29T05:06:07" in said
    assert "2022-11-15T10:00:00" in said


def test_an_end_more_than_a_day_past_the_exposure_is_not_believed() -> None:
    times = {"DATE-OBS": "2018-08-04T00:00:00", "DATE-END": "2018-09-04T00:00:00"}
    record = read(times | {"EXPTIME": 60.0, "DATE-AVG": "2018-08-20T00:00:00"})
    assert record.mid_mjd == pytest.approx(58334.0 + 30 / 86400, abs=1e-9)
    assert record.ended_at == utc("2018-08-04T00:01:00")
    assert any("ends" in text and "2018-09-04" in text for text in record.defects)


@pytest.mark.real_data
def test_a_copied_start_time_is_noticed(test_data: Path) -> None:
    folder = test_data / "jwst_nircam_a2744" / "input_data"
    for path in sorted(folder.glob("*.fits")):
        record = read(read_header(path).header, file_name=path.name)
        assert any("differ by" in defect for defect in record.defects)
        assert record.band == "f200w"
