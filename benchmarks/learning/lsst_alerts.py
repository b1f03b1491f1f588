"""What the network says of real alerts in the LSST schema, beside the pipeline's own reliability.

    ASTRID_TEST_DATA=folder python -m benchmarks.learning.lsst_alerts

These are not labels: most of the alerts are artefacts by that reliability, and the cameras were
being commissioned. The cutouts, mostly 30x30 pixels, are put in the middle of nothing.
"""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from detection.networks.real_bogus_weights import load_ensemble

SIZE = 63
_CARD, _BLOCK = 80, 2880
_START = b"SIMPLE  ="
#: Order of the cutouts in a packet.
_ORDER = ("difference", "science", "template")


def main() -> None:
    """Score every packet of the folder and print one line of JSON for each camera."""
    folder = Path(os.environ["ASTRID_TEST_DATA"]) / "lsst_schema_alerts_dev"
    with (folder / "MANIFEST.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    triplets = np.stack([read_triplet(folder / row["file"]) for row in rows])
    scores = load_ensemble().score(triplets)
    for camera in sorted({row["camera"] for row in rows}):
        chosen = [i for i, row in enumerate(rows) if row["camera"] == camera]
        reliability = np.array([float(rows[i]["reliability"] or "nan") for i in chosen])
        score = scores.score[chosen]
        known = np.isfinite(reliability) & np.isfinite(score)
        print(
            json.dumps(
                {
                    "camera": camera,
                    "n": len(chosen),
                    "without_score": int(np.isnan(score).sum()),
                    "score_quartiles": np.nanpercentile(score, [25, 50, 75]).round(3).tolist(),
                    "above_half": round(float((score > 0.5).mean()), 3),
                    "reliability_above_half": round(float((reliability > 0.5).mean()), 3),
                    "rank_correlation": round(
                        float(spearmanr(reliability[known], score[known]).statistic), 3
                    ),
                }
            )
        )


def read_triplet(path: Path) -> np.ndarray:
    """Science, template, difference (63, 63, 3) of a packet, NaN around what it holds."""
    packet = path.read_bytes()
    planes, start = {}, -1
    for name in _ORDER:
        start = packet.index(_START, start + 1)
        planes[name] = read_first_image(packet[start:])
    triplet = np.full((SIZE, SIZE, 3), np.nan, dtype=np.float32)
    for i, name in enumerate(("science", "template", "difference")):
        plane = planes[name]
        ny, nx = plane.shape
        trim = max(0, ny // 2 - SIZE // 2), max(0, nx // 2 - SIZE // 2)
        plane = plane[trim[0] : trim[0] + SIZE, trim[1] : trim[1] + SIZE]
        top, left = SIZE // 2 - ny // 2 + trim[0], SIZE // 2 - nx // 2 + trim[1]
        triplet[top : top + plane.shape[0], left : left + plane.shape[1], i] = plane
    return triplet


def read_first_image(content: bytes) -> np.ndarray:
    """The primary image of FITS bytes that other bytes follow."""
    cards: dict[str, str] = {}
    place = 0
    while (card := content[place : place + _CARD].decode("ascii", "replace"))[:8].strip() != "END":
        cards[card[:8].strip()] = card[10:].split("/")[0].strip()
        place += _CARD
    start = (place // _BLOCK + 1) * _BLOCK
    shape = (int(cards["NAXIS2"]), int(cards["NAXIS1"]))
    kind = {"-32": ">f4", "-64": ">f8"}[cards["BITPIX"]]
    count = shape[0] * shape[1]
    return np.frombuffer(content, dtype=kind, count=count, offset=start).reshape(shape)


if __name__ == "__main__":
    main()
