"""Every set of real images through the engine, with a picture and what is known about it.

    ASTRID_TEST_DATA=folder python -m benchmarks.real_sets [--set NAME ...]

Prints a table for each set and writes it, with the pictures, to docs/real-data.md; the sections
of sets that were not run are kept. Exit code 1 if an answer known beforehand was not found.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks import real_sets_pairs as pairs
from benchmarks.real_sets_pairs import Row, peak_memory_mb
from benchmarks.real_sets_saao import run_saao

#: Longer lists are folded.
FOLD = 12
ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "real-data.md"
IMAGES = ROOT / "docs" / "images"
HEAD = """# AstrID on real images

Every set of real images that AstrID is tested on, subtracted by its engine, with what came out.
Written by `python -m benchmarks.real_sets`. In the pictures north is not up: the frames are shown
as they lie. Pink pixels are masked. "Noise" is the width of blank-sky pixels in units of their
propagated error, before and after the empirical scale that the engine applies and reports; a
verdict of *downgrade* means that one of its numbers, named in the remarks, is outside its range.
"""


@dataclass(frozen=True)
class RealSet:
    """One set: its title, what runs it, its picture, and what a person saw in it."""

    title: str
    run: Callable[[Path, Path], list[Row]]
    pictures: tuple[str, ...]
    about: str
    credit: str
    seen: str


SETS = {
    "saao": RealSet(
        "SAAO: a microlensing event in a crowded bulge field",
        run_saao,
        ("real-saao.png", "real-saao-light-curve.svg"),
        "47 frames of 24 nights without world coordinates, registered by their stars alone.",
        "MichaelDAlbrow/pyDIA (MIT), SAAO 1.0 m",
        "The event, ringed, stands out of a field in which stars touch each other; its "
        "neighbour, nine pixels away and brighter, leaves a few per cent of its light. The "
        "brightest stars leave rings of both signs, in squares as wide as the filters. Where the "
        "score is white nothing is claimed: around saturated stars, and, in frames of which each "
        "is convolved with the other's PSF, as far from masked pixels as those filters reach, up "
        "to a fifth of the frame. Of the "
        "places at which candidates recur five were looked at in an earlier run: each is a star, "
        "three of them in a blend. In frame 0098 the telescope moved: "
        "each bright star has a fainter image 29 pixels to its right with a trail between them, "
        "and these are its strongest candidates. The set's table was made by sums within four "
        "pixels in each frame's own seeing, without correction for the light outside: in bad "
        "seeing it falls short by up to a half. The comparison is therefore made with the same "
        "aperture, and with the PSF flux times the light within it, both on the scale of all "
        "light, that of the kernel's sum, which is what a sum of pixels is steady on; our own "
        "curve is on the scale of the stars' PSF fluxes. The errors of the table leave out the "
        "light of the stars themselves: constant stars of the event's brightness, measured as the "
        "table was, scatter by more of such errors than the event does about the table.",
    ),
    "decam": RealSet(
        "DECam: a transient of one night",
        pairs.run_decam,
        ("real-decam.png",),
        "Registered i-band frames of two nights; the transient is there in one of them.",
        "thomasvrussell/sfft (MIT), DECam",
        "The transient is a clean point beside the middle of a galaxy that cancels without "
        "a trace. One star, the brightest, leaves a dipole: it is why no verdict of this "
        "night is a pass. In the picture nothing but the transient is kept.",
    ),
    "nircam": RealSet(
        "JWST NIRCam: a faded source behind Abell 2744",
        pairs.run_nircam,
        ("real-nircam.png",),
        "Two epochs on one grid, each with its own PSF and noise plane.",
        "thomasvrussell/sfft (MIT), JWST programmes 1324 and 2561",
        "Where both epochs show light the difference is wider than its blank sky; the same is "
        "measured in a map of significance that another program made of the pair. The errors "
        "that the engine takes here hold 0.4 % of the light that was subtracted; against the "
        "noise of the pixels alone the ratio is a hundredth larger. "
        "The dark point, ringed, lies on the edge of an elongated galaxy that cancels, and "
        "there the score is lowest. Cores of the brightest galaxies leave residuals of both "
        "signs. The sky is uneven by one or two sigma of the score over wide areas, most of "
        "all at the upper left. There are few stars to match by, and many galaxies: the other "
        "candidates that are kept were not looked at one by one, and most may be residuals.",
    ),
    "eso085": RealSet(
        "ESO 085-030: two frames of one night",
        pairs.run_eso085,
        ("real-eso085.png",),
        "74 seconds apart, no world coordinates: nothing should be found.",
        "toros-astro/ProperImage (BSD-3)",
        "Galaxy, stars, dead columns and dust rings cancel; the difference and the score are flat.",
    ),
    "spiral": RealSet(
        "A spiral galaxy in three surveys",
        pairs.run_spiral,
        ("real-spiral.png",),
        "Pixel scales from 0.25 to 0.40 arcsec, one flipped parity, and one WCS that is wrong.",
        "temuller/hostphot (MIT), SDSS, Pan-STARRS1 and DES",
        "The galaxy fills the cut-outs: arms, bulge and the star beside it lie on each "
        "other in the two surveys, although one is mirrored. The Pan-STARRS cut-out holds "
        "two stars, too few for a PSF, and so nothing is subtracted. The SDSS cut-outs "
        "carry the world coordinates of the whole frame and are refused.",
    ),
    "singles": RealSet(
        "Single frames: a satellite, a wide field, a deep field",
        pairs.run_singles,
        ("real-singles.png",),
        "Nothing to subtract: reading, masks and sources.",
        "dwkim78/ASTRiDE (MIT), panoptes/panoptes-utils (MIT), astromatic/sextractor (GPL-3)",
        "The satellite's trail is masked from end to end.",
    ),
}


def main() -> int:
    """Run the sets asked for and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", nargs="+", choices=SETS, default=list(SETS), dest="names")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = Path(os.environ["ASTRID_TEST_DATA"])
    IMAGES.mkdir(parents=True, exist_ok=True)
    is_right = True
    for name in options.names:
        start = time.perf_counter()
        rows = SETS[name].run(data, IMAGES)
        text = section(name, rows, seconds=time.perf_counter() - start)
        print(text, flush=True)
        write_section(name, text)
        is_right &= all(row.is_right for row in rows)
    return 0 if is_right else 1


def section(name: str, rows: list[Row], *, seconds: float) -> str:
    """One set as markdown."""
    told = SETS[name]
    lines = [f"## {told.title}", "", told.about, ""]
    lines += [f"![{told.title}](images/{file})\n" for file in told.pictures]
    lines += [told.seen, ""]
    facts = [row for row in rows if row.verdict == "-"]
    lines += [f"- {wrong(r)}{r.pair}: {fact(r)}" for r in facts]
    pairs_ = [row for row in rows if row.verdict != "-"]
    if pairs_:
        lines += ["", *folded(table(pairs_), len(pairs_))]
    remarks = dict.fromkeys(f"{r.pair}: {text}" for r in rows for text in r.remarks[:4])
    if remarks:
        lines += ["", *folded([f"- {text}" for text in remarks], len(remarks))]
    lines += [
        "",
        f"{seconds:.0f} s in all, peak memory {peak_memory_mb():.0f} MB. Images: {told.credit}.",
    ]
    return "\n".join(lines)


def wrong(row: Row) -> str:
    """What marks an answer that is not the known one."""
    return "" if row.is_right else "**wrong:** "


def fact(row: Row) -> str:
    """A row without a subtraction in words."""
    how = "" if row.registration == "-" else f" ({row.registration})"
    return row.answer + how


def table(rows: list[Row]) -> list[str]:
    """Rows of subtractions."""
    lines = [
        "| pair | registered by | method | verdict | noise | peaks | kept | answer | s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r.pair} | {r.registration} | {r.method} | {r.verdict} | {r.noise} | {r.peaks} "
        f"| {r.kept} | {wrong(r)}{r.answer} | {r.seconds:.1f} |"
        for r in rows
    ]
    return lines


def folded(lines: list[str], n_rows: int) -> list[str]:
    """Long lists behind a click."""
    if n_rows <= FOLD:
        return lines
    return [f"<details><summary>{n_rows} lines</summary>", "", *lines, "", "</details>"]


def write_section(name: str, text: str) -> None:
    """Put one section into the page, in the order of the sets."""
    page = PAGE.read_text() if PAGE.exists() else HEAD
    found = dict(re.findall(r"<!-- (\w+) -->\n(.*?)\n<!-- end -->", page, flags=re.S))
    found[name] = text
    blocks = [f"<!-- {key} -->\n{found[key]}\n<!-- end -->" for key in SETS if key in found]
    PAGE.write_text(HEAD + "\n" + "\n\n".join(blocks) + "\n")


if __name__ == "__main__":
    sys.exit(main())
