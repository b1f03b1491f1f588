"""Chains of other people's programs on one scene, run by whichever Python has them.

    python peer_chains.py CHAIN SCENE_FOLDER OUTPUT_FOLDER

Each reads the four FITS files of a scene, brings the reference onto the science grid, matches,
subtracts, detects, and writes ``difference.fits`` (NaN where it has none) and ``candidates.csv``
(x, y, flux; 0-based). Settings are common practice, the same for all scenes. Nothing of AstrID is
imported.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

_FWHM_PER_SIGMA = 2.3548
_EXTRACTOR_COLUMNS = "X_IMAGE\nY_IMAGE\nFLUX_AUTO\nFLUX_APER\nFLUXERR_APER\nFLAGS\nIMAFLAGS_ISO\n"
_CONVOLUTION = "CONV NORM\n# matched to the seeing\n"


def main() -> None:
    """Run the chain that was asked for."""
    chain, scene, output = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    warnings.simplefilter("ignore")
    CHAINS[chain](scene, output)


def swarp(scene: Path, output: Path) -> tuple[Float32, Bool]:
    """The reference on the science grid by Lanczos-3 interpolation, and where it is missing."""
    header = fits.getheader(scene / "science.fits")
    shape = (header["NAXIS2"], header["NAXIS1"])
    (output / "coadd.head").write_text(header.tostring(sep="\n", endcard=True, padding=False))
    bad = fits.getdata(scene / "reference_mask.fits") > 0
    fits.writeto(output / "weight.fits", (~bad).astype(np.float32), overwrite=True)
    settings = {
        "IMAGEOUT_NAME": "coadd.fits",
        "WEIGHTOUT_NAME": "coadd.weight.fits",
        "WEIGHT_TYPE": "MAP_WEIGHT",
        "WEIGHT_IMAGE": "weight.fits",
        "RESAMPLING_TYPE": "LANCZOS3",
        "COMBINE": "Y",
        "COMBINE_TYPE": "WEIGHTED",
        "SUBTRACT_BACK": "Y",
        "BACK_SIZE": "128",
        "FSCALASTRO_TYPE": "FIXED",
        "DELETE_TMPFILES": "Y",
        "WRITE_XML": "N",
        "VERBOSE_TYPE": "QUIET",
    }
    command = ["SWarp", str((scene / "reference.fits").resolve())]
    command += [part for key, value in settings.items() for part in (f"-{key}", value)]
    subprocess.run(command, cwd=output, check=True)
    data = np.asarray(fits.getdata(output / "coadd.fits"), dtype=np.float32)
    weight = np.asarray(fits.getdata(output / "coadd.weight.fits"))
    if data.shape != shape:
        msg = f"SWarp wrote {data.shape}, the science frame is {shape}"
        raise ValueError(msg)
    return data, weight <= 0.5 * float(np.median(weight[weight > 0]))


def swarp_gauss_extractor(scene: Path, output: Path) -> None:
    """SWarp, the sharper image blurred by a Gaussian, source-extractor."""
    reference, missing = swarp(scene, output)
    science, bad = read_science(scene, output)
    seeing = [fits.getheader(scene / f"{n}.fits")["SEEING"] for n in ("reference", "science")]
    difference = subtract_blurred(
        reference, science, seeing=(seeing[0], seeing[1]), bad=bad | missing, fit_area=True
    )
    write_difference(output, difference, bad | missing)
    extract(output, difference, bad | missing, fwhm=max(seeing))


def swarp_sfft_sep(scene: Path, output: Path) -> None:
    """SWarp, SFFT with its Numpy backend, sep with a matched filter."""
    import sep
    from sfft.EasySparsePacket import Easy_SparsePacket

    reference, missing = swarp(scene, output)
    science, bad = read_science(scene, output)
    header = fits.getheader(scene / "science.fits")
    for name, data in (("r", reference), ("s", science)):
        clean = np.where(np.isfinite(data), data, 0.0).astype(np.float32)
        fits.writeto(output / f"{name}.fits", clean, header, overwrite=True)
    Easy_SparsePacket.ESP(
        str(output / "r.fits"),
        str(output / "s.fits"),
        FITS_DIFF=str(output / "d.fits"),
        ForceConv="REF" if is_reference_sharper(scene) else "SCI",
        KerHWRatio=2.0,
        KerPolyOrder=2,
        BGPolyOrder=2,
        SATUR_KEY="SATURATE",
        BACKEND_4SUBTRACT="Numpy",
        NUM_CPU_THREADS_4SUBTRACT=2,
        VERBOSE_LEVEL=0,
    )
    difference = np.asarray(fits.getdata(output / "d.fits"), dtype=np.float32)
    lost = bad | missing
    write_difference(output, difference, lost)
    data = np.ascontiguousarray(np.where(lost, 0.0, difference), dtype=np.float32)
    error = sep.Background(data, mask=lost, bw=128, bh=128).rms().astype(np.float32)
    seeing = max(fits.getheader(scene / f"{n}.fits")["SEEING"] for n in ("reference", "science"))
    kernel = gaussian_kernel(seeing / _FWHM_PER_SIGMA)
    found = [
        sep.extract(sign * data, 5.0, err=error, mask=lost, filter_kernel=kernel, minarea=1)
        for sign in (1, -1)
    ]
    rows: list[tuple[float, float, float]] = []
    for sign, objects in zip((1, -1), found, strict=True):
        flux, *_ = sep.sum_circle(sign * data, objects["x"], objects["y"], 1.5 * seeing)
        rows += zip(objects["x"], objects["y"], sign * flux, strict=True)
    write_candidates(output, rows)


def reproject_photutils(scene: Path, output: Path) -> None:
    """reproject, a Gaussian blur, photutils."""
    from photutils.aperture import CircularAperture, aperture_photometry
    from photutils.background import Background2D, MedianBackground
    from photutils.segmentation import SourceCatalog, detect_sources
    from reproject import reproject_interp
    from scipy.ndimage import gaussian_filter

    header = fits.getheader(scene / "science.fits")
    lost = fits.getdata(scene / "reference_mask.fits") > 0
    with fits.open(scene / "reference.fits") as hdus:
        # its splines carry a NaN over the whole frame: the mask goes by itself
        data = np.where(lost, np.median(hdus[0].data[~lost]), hdus[0].data)
        scale, wcs = area_ratio(hdus[0].header, header), WCS(hdus[0].header)
    target = {"output_projection": WCS(header), "shape_out": (header["NAXIS2"], header["NAXIS1"])}
    reference, footprint = reproject_interp((data, wcs), **target, order="bicubic")
    touched, _ = reproject_interp((lost.astype(np.float32), wcs), **target, order="bilinear")
    missing = (footprint < 0.5) | ~np.isfinite(reference) | (np.nan_to_num(touched) > 0.0)
    bad = fits.getdata(scene / "science_mask.fits") > 0
    planes = []
    for image, mask in ((reference * scale, missing), (fits.getdata(scene / "science.fits"), bad)):
        clean = np.where(mask, 0.0, image).astype(np.float64)
        back = Background2D(
            clean, 128, mask=mask, bkg_estimator=MedianBackground(), exclude_percentile=90
        )
        planes.append((clean - back.background).astype(np.float32))
    seeing = tuple(fits.getheader(scene / f"{n}.fits")["SEEING"] for n in ("reference", "science"))
    difference = subtract_blurred(*planes, seeing=seeing, bad=bad | missing, fit_area=False)
    write_difference(output, difference, bad | missing)
    sigma = max(seeing) / _FWHM_PER_SIGMA
    clean = np.where(bad | missing, 0.0, difference)
    filtered = gaussian_filter(clean, sigma)
    noise = 1.4826 * np.median(np.abs(filtered[~(bad | missing)]))
    rows: list[tuple[float, float, float]] = []
    for sign in (1, -1):
        segments = detect_sources(sign * filtered, 5.0 * noise, n_pixels=1, mask=bad | missing)
        if segments is not None:
            found = SourceCatalog(sign * filtered, segments)
            x, y = np.asarray(found.x_centroid), np.asarray(found.y_centroid)
            aperture = CircularAperture(np.column_stack([x, y]), 1.5 * max(seeing))
            flux = aperture_photometry(clean, aperture)["aperture_sum"]
            rows += zip(x, y, np.asarray(flux), strict=True)
    write_candidates(output, rows)


def read_science(scene: Path, output: Path) -> tuple[Float32, Bool]:
    """The science frame without its sky, as source-extractor estimates it."""
    path = (scene / "science.fits").resolve()
    settings = extractor_settings(output) | {
        "CHECKIMAGE_TYPE": "-BACKGROUND",
        "CHECKIMAGE_NAME": "science_sub.fits",
        "DETECT_THRESH": "5",
    }
    run_extractor(path, settings, output)
    bad = np.asarray(fits.getdata(scene / "science_mask.fits")) > 0
    return np.asarray(fits.getdata(output / "science_sub.fits"), dtype=np.float32), bad


def subtract_blurred(
    reference: Float32,
    science: Float32,
    *,
    seeing: tuple[float, float],
    bad: Bool,
    fit_area: bool,
) -> Float32:
    """Blur the sharper of two by a Gaussian, scale by the bright pixels' median ratio, subtract."""
    from scipy.ndimage import gaussian_filter

    blur = np.sqrt(abs(seeing[1] ** 2 - seeing[0] ** 2)) / _FWHM_PER_SIGMA
    planes = [np.where(bad, 0.0, plane).astype(np.float32) for plane in (reference, science)]
    sharper = 0 if seeing[0] < seeing[1] else 1
    planes[sharper] = gaussian_filter(planes[sharper], blur)
    noise = [1.4826 * np.median(np.abs(plane[~bad])) for plane in planes]
    bright = ~bad & (planes[0] > 20.0 * noise[0]) & (planes[1] > 20.0 * noise[1])
    ratio = np.median(planes[1][bright] / planes[0][bright]) if bright.sum() > 20 else 1.0
    return np.asarray(planes[1] - ratio * planes[0], dtype=np.float32)


def extract(output: Path, difference: Float32, lost: Bool, *, fwhm: float) -> None:
    """source-extractor on a difference and on its negative, aperture S/N above 5."""
    rows: list[tuple[float, float, float]] = []
    fits.writeto(output / "flags.fits", lost.astype(np.int16), overwrite=True)
    weight = np.where(lost, 0.0, 1.0).astype(np.float32)
    fits.writeto(output / "detect_weight.fits", weight, overwrite=True)
    write_convolution(output / "match.conv", fwhm / _FWHM_PER_SIGMA)
    for sign in (1, -1):
        path = output / "detect.fits"
        fits.writeto(path, (sign * np.where(lost, 0.0, difference)).astype("f4"), overwrite=True)
        settings = extractor_settings(output) | {
            "DETECT_THRESH": "1.5",
            "ANALYSIS_THRESH": "1.5",
            "DETECT_MINAREA": "4",
            "FILTER": "Y",
            "FILTER_NAME": "match.conv",
            "PHOT_APERTURES": f"{2.0 * fwhm:.2f}",
            "FLAG_IMAGE": "flags.fits",
            "WEIGHT_TYPE": "MAP_WEIGHT",
            "WEIGHT_IMAGE": "detect_weight.fits",
            "WEIGHT_GAIN": "N",
        }
        table = run_extractor(path.resolve(), settings, output)
        keep = (table["FLUX_APER"] > 5.0 * table["FLUXERR_APER"]) & (table["IMAFLAGS_ISO"] == 0)
        kept = table[keep]
        rows += zip(
            kept["X_IMAGE"] - 1.0, kept["Y_IMAGE"] - 1.0, sign * kept["FLUX_AUTO"], strict=True
        )
    write_candidates(output, rows)


def extractor_settings(output: Path) -> dict[str, str]:
    """What every call shares."""
    (output / "default.param").write_text(_EXTRACTOR_COLUMNS)
    write_convolution(output / "match.conv", 1.3)
    return {
        "CATALOG_NAME": "found.fits",
        "CATALOG_TYPE": "FITS_1.0",
        "PARAMETERS_NAME": "default.param",
        "FILTER": "N",
        "BACK_SIZE": "128",
        "VERBOSE_TYPE": "QUIET",
    }


def run_extractor(path: Path, settings: dict[str, str], output: Path) -> np.ndarray:
    """One call; its table."""
    if "FLAG_IMAGE" not in settings:
        columns = _EXTRACTOR_COLUMNS.replace("IMAFLAGS_ISO\n", "")
        (output / "default.param").write_text(columns)
    command = ["source-extractor", str(path)]
    command += [part for key, value in settings.items() for part in (f"-{key}", value)]
    (output / "empty.sex").write_text("")
    subprocess.run([*command, "-c", "empty.sex"], cwd=output, check=True)
    return np.asarray(fits.getdata(output / "found.fits"))


def write_convolution(path: Path, sigma: float) -> None:
    """A Gaussian in source-extractor's format."""
    kernel = gaussian_kernel(sigma)
    rows = "\n".join(" ".join(f"{value:.6f}" for value in row) for row in kernel)
    path.write_text(_CONVOLUTION + rows + "\n")


def gaussian_kernel(sigma: float) -> Float32:
    """An odd square with unit peak."""
    half = max(2, round(2.5 * sigma))
    offset = np.arange(-half, half + 1)
    line = np.exp(-0.5 * (offset / sigma) ** 2)
    return np.asarray(np.outer(line, line), dtype=np.float32)


def is_reference_sharper(scene: Path) -> bool:
    """By the seeing in the headers."""
    seeing = [fits.getheader(scene / f"{n}.fits")["SEEING"] for n in ("reference", "science")]
    return bool(seeing[0] <= seeing[1])


def area_ratio(theirs: fits.Header, ours: fits.Header) -> float:
    """Area of a science pixel over that of a reference pixel: interpolation keeps surface light."""
    areas = [abs(np.linalg.det(WCS(header).pixel_scale_matrix)) for header in (theirs, ours)]
    return float(areas[1] / areas[0])


def write_difference(output: Path, difference: Float32, lost: Bool) -> None:
    """The difference with NaN where nothing is known."""
    data = np.where(lost, np.nan, difference).astype(np.float32)
    fits.writeto(output / "difference.fits", data, overwrite=True)


def write_candidates(output: Path, rows: list[tuple[float, float, float]]) -> None:
    """x, y, flux; 0-based."""
    with (output / "candidates.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["x", "y", "flux"])
        writer.writerows([f"{value:.4f}" for value in row] for row in rows)


CHAINS = {
    "swarp": swarp,
    "swarp-gauss-extractor": swarp_gauss_extractor,
    "swarp-sfft-sep": swarp_sfft_sep,
    "reproject-photutils": reproject_photutils,
}

if __name__ == "__main__":
    main()
