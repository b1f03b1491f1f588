"""How many more faint transients are found at no more false ones, by whom.

    python -m benchmarks.learning.second_detector --work DIR [--nights 24] [--calibration 12]

Each contestant's threshold is set on calibration nights so that it lets no more false candidates
through than the classical detector at 5 sigma with its cuts does; what is printed is of others.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import maximum_filter
from scipy.spatial import cKDTree
from sklearn.linear_model import LogisticRegression

from benchmarks.learning.detector_nights import FLOOR, Night, nights
from detection.networks.unet import UNet, probability_maps
from detection.networks.unet_peaks import PIPELINE_THRESHOLD, find_changes
from detection.networks.unet_weights import WEIGHTS_FILE, load_unet, read_unet_record
from detection.training.pair_chain import label_places

THRESHOLD = 5.0
#: Seeds of no training and of no other benchmark.
_FIRST_CALIBRATION, _FIRST_NIGHT = 52_000, 53_000
BINS = ((3.5, 4.5), (4.5, 5.5), (5.5, 7.0), (7.0, 10.0))
_LEAST = 1e-6
_N_DRAWS = 1000


@dataclass(frozen=True)
class Sightings:
    """Candidates of one night by one contestant; arrays of shape (n,).

    Attributes
    ----------
    place : array (n, 2)
    label, nearest : arrays
        1 real, 0 false, -1 near a change; and the nearest change.
    rank : array
        The higher, the surer; -inf for none at all.
    """

    place: np.ndarray
    label: np.ndarray
    nearest: np.ndarray
    rank: np.ndarray

    def above(self, threshold: float) -> Sightings:
        rows = self.rank >= threshold
        return Sightings(self.place[rows], self.label[rows], self.nearest[rows], self.rank[rows])


@dataclass(frozen=True)
class Seen:
    """One night with what the network says of it."""

    night: Night
    changes: Sightings
    at_peaks: np.ndarray


def see(network: UNet, night: Night) -> Seen:
    """The network's own candidates, and its probability at the classical detector's."""
    change = probability_maps(network, night.planes)[0]
    found = find_changes(change, night.planes[3], threshold=0.01, separation_pix=night.fwhm)
    label, nearest = label_places(found.candidates, night.changes, fwhm_pix=night.fwhm)
    place = np.column_stack([found.candidates.x, found.candidates.y])
    near = maximum_filter(change, size=5)
    columns, rows = (np.rint(night.table[:, i]).astype(int) for i in (0, 1))
    return Seen(night, Sightings(place, label, nearest, found.probability), near[rows, columns])


def classical(seen: Seen, rank: np.ndarray) -> Sightings:
    """Candidates of the classical detector by a rank."""
    table = seen.night.table
    return Sightings(table[:, :2], table[:, 4].astype(int), table[:, 5].astype(int), rank)


def logit(values: np.ndarray) -> np.ndarray:
    inner = np.clip(np.nan_to_num(values), _LEAST, 1 - _LEAST)
    return np.log(inner / (1 - inner))


def columns_of(seen: Seen) -> np.ndarray:
    table = seen.night.table
    return np.column_stack([np.abs(table[:, 2]), logit(table[:, 7]), logit(seen.at_peaks)])


def contestants(calibration: list[Seen]) -> dict[str, Callable[[Seen], Sightings]]:
    """Who competes; the filter is fitted on calibration nights."""
    rows = np.concatenate([columns_of(seen) for seen in calibration])
    label = np.concatenate([seen.night.table[:, 4] for seen in calibration])
    fits = {
        n: LogisticRegression(C=1.0).fit(rows[label >= 0][:, list(n)], label[label >= 0] == 1)
        for n in ((0, 1), (0, 1, 2))
    }

    def kept(seen: Seen, rank: np.ndarray) -> Sightings:
        return classical(seen, np.where(seen.night.table[:, 6] > 0, rank, -np.inf))

    def filtered(seen: Seen, names: tuple[int, ...]) -> Sightings:
        columns = columns_of(seen)[:, list(names)]
        rank = fits[names].decision_function(columns) if len(columns) else np.zeros(0)
        return classical(seen, rank)

    return {
        "classical, its own threshold": lambda s: kept(s, np.abs(s.night.table[:, 2])),
        "classical from 3.8 sigma, combined model": lambda s: kept(
            s, np.nan_to_num(s.night.table[:, 7])
        ),
        "U-Net alone": lambda s: s.changes,
        "intersection: cuts from 3.8 sigma, U-Net": lambda s: kept(s, s.at_peaks),
        "from 3.8 sigma, S/N and combined model": lambda s: filtered(s, (0, 1)),
        "from 3.8 sigma, S/N, combined model and U-Net": lambda s: filtered(s, (0, 1, 2)),
    }


def as_in_the_pipeline(seen: Seen) -> Sightings:
    """5 sigma or the U-Net's word, and the cuts."""
    table = seen.night.table
    found = (np.abs(table[:, 2]) >= THRESHOLD) | (seen.at_peaks >= PIPELINE_THRESHOLD)
    rank = np.where(found & (table[:, 6] > 0), 1.0, -np.inf)
    return classical(seen, rank).above(1.0)


def union(first: Sightings, second: Sightings, *, within: float) -> Sightings:
    """Candidates of either, one for each place."""
    if len(first.place) and len(second.place):
        distance, _ = cKDTree(first.place).query(second.place)
        second = Sightings(*(values[distance > within] for values in vars(second).values()))
    pairs = zip(vars(first).values(), vars(second).values(), strict=True)
    return Sightings(*(np.concatenate(pair) for pair in pairs))


def n_false(found: list[Sightings]) -> int:
    return int(sum((each.label == 0).sum() for each in found))


def threshold_for(found: list[Sightings], allowed: int) -> float:
    """The lowest threshold at which no more than so many false ones pass."""
    ranks = np.sort(np.concatenate([each.rank[each.label == 0] for each in found]))[::-1]
    finite = ranks[np.isfinite(ranks)]
    if len(finite) <= allowed:
        return float(np.nextafter(-np.inf, 0))
    return float(np.nextafter(finite[allowed], np.inf))


def tally(seen: Seen, found: Sightings) -> np.ndarray:
    """Real ones, false ones, and found and all transients of each bin of S/N."""
    hit = np.zeros(len(seen.night.snr), dtype=bool)
    hit[found.nearest[found.label == 1]] = True
    counts = [int((found.label == 1).sum()), int((found.label == 0).sum())]
    for low, high in BINS:
        inside = (seen.night.snr >= low) & (seen.night.snr < high)
        counts += [int((inside & hit).sum()), int(inside.sum())]
    return np.array(counts, dtype=float)


def judge(tallies: np.ndarray, base: np.ndarray) -> dict[str, object]:
    """Figures with 95 % intervals by drawing nights; differences on the same draws."""
    rng = np.random.default_rng(1)
    draws = rng.integers(0, len(tallies), (_N_DRAWS, len(tallies)))

    def spread(figure: Callable[[np.ndarray, np.ndarray], float]) -> dict[str, float]:
        drawn = [figure(tallies[rows].sum(axis=0), base[rows].sum(axis=0)) for rows in draws]
        low, high = np.nanquantile(drawn, [0.025, 0.975])
        value = figure(tallies.sum(axis=0), base.sum(axis=0))
        return {"value": round(value, 4), "low": round(low, 4), "high": round(high, 4)}

    answer: dict[str, object] = {
        "false_per_night": spread(lambda t, b: t[1] / len(tallies)),
        "purity": spread(lambda t, b: t[0] / max(t[0] + t[1], 1.0)),
    }
    for i, (low, high) in enumerate(BINS):
        k = 2 + 2 * i
        answer[f"completeness {low:g}-{high:g}"] = {
            "n": int(tallies[:, k + 1].sum()),
            **spread(lambda t, b, k=k: t[k] / max(t[k + 1], 1.0)),
        }
        answer[f"gain {low:g}-{high:g}"] = spread(
            lambda t, b, k=k: (t[k] - b[k]) / max(t[k + 1], 1.0)
        )
    return answer


def compare(network: UNet, calibration: list[Night], test: list[Night]) -> dict[str, object]:
    """All contestants at the classical detector's number of false candidates."""
    tuned, judged = ([see(network, night) for night in part] for part in (calibration, test))
    run = contestants(tuned)
    plain = run["classical, its own threshold"]
    reference = [plain(seen).above(THRESHOLD) for seen in judged]
    allowed = n_false([plain(seen).above(THRESHOLD) for seen in tuned])
    base = np.stack([tally(s, f) for s, f in zip(judged, reference, strict=True)])
    table = {f"classical at {THRESHOLD:g} sigma": judge(base, base)}
    for name, contestant in run.items():
        limit = threshold_for([contestant(seen) for seen in tuned], allowed)
        found = [contestant(seen).above(limit) for seen in judged]
        tallies = np.stack([tally(s, f) for s, f in zip(judged, found, strict=True)])
        table[name] = {"threshold": round(limit, 4), **judge(tallies, base)}
    found = [as_in_the_pipeline(seen) for seen in judged]
    tallies = np.stack([tally(s, f) for s, f in zip(judged, found, strict=True)])
    table["the pipeline with its second detector"] = {
        "threshold": PIPELINE_THRESHOLD,
        **judge(tallies, base),
    }
    parts = (plain, run["U-Net alone"])
    limits = [threshold_for([part(seen) for seen in tuned], allowed // 2) for part in parts]
    found = [
        union(*(p(s).above(t) for p, t in zip(parts, limits, strict=True)), within=s.night.fwhm)
        for s in judged
    ]
    tallies = np.stack([tally(s, f) for s, f in zip(judged, found, strict=True)])
    table["union: classical and U-Net, half the false ones each"] = judge(tallies, base)
    return {"n_nights": len(test), "n_calibration": len(calibration), "floor": FLOOR, **table}


def measure(work: Path, *, n_nights: int, n_calibration: int, weights: Path) -> dict[str, object]:
    """Make the nights that are not there yet and compare all contestants on them."""

    def said(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    calibration, test = (
        list(nights(work, range(start, start + count), progress=said))
        for start, count in ((_FIRST_CALIBRATION, n_calibration), (_FIRST_NIGHT, n_nights))
    )
    report = compare(load_unet(weights), calibration, test)
    return {**report, "weights_sha256": read_unet_record(weights)["sha256"]}


def main() -> None:
    """Print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for nights")
    parser.add_argument("--nights", type=int, default=24)
    parser.add_argument("--calibration", type=int, default=12)
    parser.add_argument("--weights", type=Path, default=WEIGHTS_FILE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    report = measure(
        options.work,
        n_nights=options.nights,
        n_calibration=options.calibration,
        weights=options.weights,
    )
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
