"""ROC AUC on real alerts after what other surveys might do to their cutouts.

    ASTRID_TEST_DATA=folder python -m benchmarks.learning.robustness [--weights FILE]

Gold real against vetted bogus. With weights that have seen these alerts only the differences
between the rows say something; ``simulated_only.safetensors`` of a training has not seen them.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, zoom
from sklearn.metrics import roc_auc_score

from detection.networks.real_bogus_weights import WEIGHTS_FILE, load_ensemble

SIZE = 63
Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def limits(triplets: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Percentiles of each plane."""
    edges = np.nanpercentile(triplets, [low, high], axis=(1, 2), keepdims=True)
    return edges[0], edges[1]


def stretched_to_bytes(triplets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each plane between its 1 and 99.5 percentiles, in 256 steps."""
    low, high = limits(triplets, 1.0, 99.5)
    return np.round(255 * np.clip((triplets - low) / (high - low), 0, 1))


def unit_norm(triplets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each plane divided by the root of its squares' sum."""
    return triplets / np.sqrt(np.nansum(triplets**2, axis=(1, 2), keepdims=True))


def asinh_stretched(triplets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Delivered with a logarithmic stretch."""
    low, high = limits(triplets, 16.0, 84.0)
    return np.arcsinh((triplets - 0.5 * (low + high)) / (high - low))


def rescaled(triplets: np.ndarray, factor: float) -> np.ndarray:
    """Pixels smaller (factor above 1) or larger by interpolation; NaN around what is left."""
    filled = np.where(
        np.isfinite(triplets), triplets, np.nanmedian(triplets, axis=(1, 2))[:, None, None]
    )
    whole = zoom(filled, (1, factor, factor, 1), order=1)
    size = whole.shape[1]
    answer = np.full_like(triplets, np.nan)
    if size >= SIZE:
        edge = (size - SIZE) // 2
        return whole[:, edge : edge + SIZE, edge : edge + SIZE]
    edge = (SIZE - size) // 2
    answer[:, edge : edge + size, edge : edge + size] = whole
    return answer


def framed(triplets: np.ndarray, width: int, value: float) -> np.ndarray:
    """Only the middle, and a constant around it."""
    answer = np.full_like(triplets, value)
    edge = (SIZE - width) // 2
    inner = slice(edge, edge + width)
    answer[:, inner, inner] = triplets[:, inner, inner]
    return answer


def without(triplets: np.ndarray, plane: int, value: float) -> np.ndarray:
    answer = triplets.copy()
    answer[..., plane] = value
    return answer


def cut_beside(triplets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The frame ends ten pixels beside the source."""
    answer = triplets.copy()
    answer[:, :, : SIZE // 2 - 10] = np.nan
    return answer


def smoothed_difference(triplets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Correlated noise in the difference."""
    answer = np.nan_to_num(triplets)
    answer[..., 2] = gaussian_filter(answer[..., 2], (0, 0.8, 0.8))
    return answer


CHANGES: dict[str, Change] = {
    "as delivered": lambda t, rng: t,
    "other sign of the difference": lambda t, rng: t * np.array([1, 1, -1], np.float32),
    "fading: science and template exchanged": lambda t, rng: t[..., [1, 0, 2]],
    "turned by 90 degrees": lambda t, rng: np.rot90(t, axes=(1, 2)),
    "mirrored": lambda t, rng: t[:, :, ::-1],
    "background 1e5": lambda t, rng: t + np.float32(1e5),
    "in units of 1e-30": lambda t, rng: t.astype(np.float64) * 1e-30,
    "template in tenths": lambda t, rng: t * np.array([1, 0.1, 1], np.float32),
    "unit norm of each plane": unit_norm,
    "bytes between percentiles": stretched_to_bytes,
    "logarithmic stretch": asinh_stretched,
    "missing pixels are 0": lambda t, rng: np.nan_to_num(t),
    "no template (NaN)": lambda t, rng: without(t, 1, np.nan),
    "no template (0)": lambda t, rng: without(t, 1, 0.0),
    "no science": lambda t, rng: without(t, 0, np.nan),
    "no difference": lambda t, rng: without(t, 2, np.nan),
    "frame ends 10 pixels away": cut_beside,
    "31 pixels framed in NaN": lambda t, rng: framed(t, 31, np.nan),
    "31 pixels framed in 0": lambda t, rng: framed(t, 31, 0.0),
    "pixels two thirds as wide": lambda t, rng: rescaled(t, 1.5),
    "pixels half as wide": lambda t, rng: rescaled(t, 2.0),
    "pixels 1.3 times as wide": lambda t, rng: rescaled(t, 0.77),
    "shifted by 2 pixels": lambda t, rng: np.roll(t, (2, -1), axis=(1, 2)),
    "difference smoothed": smoothed_difference,
}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, default=WEIGHTS_FILE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(os.environ["ASTRID_TEST_DATA"]) / "ztf_alerts_dev"
    with np.load(folder / "triplets.npz", allow_pickle=False) as stored:
        triplets = stored["triplets"]
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    chosen = [i for i, row in enumerate(rows) if row["label_confidence"] in {"gold", "vetted"}]
    is_real = np.array([rows[i]["label"] == "real" for i in chosen])
    ensemble = load_ensemble(options.weights)
    print("| cutouts | ROC AUC | real at 1 % | median real | median bogus | without score |")
    print("|---|---|---|---|---|---|")
    for name, change in CHANGES.items():
        changed = change(triplets[chosen], np.random.default_rng(1))
        score = ensemble.score(np.ascontiguousarray(changed)).score
        known = np.isfinite(score)
        auc = roc_auc_score(is_real[known], score[known])
        real, bogus = score[known & is_real], score[known & ~is_real]
        lowest = np.quantile(real, 0.01)
        print(
            f"| {name} | {auc:.3f} | {lowest:.2f} | {np.median(real):.2f} | "
            f"{np.median(bogus):.2f} | {int((~known).sum())} |"
        )


if __name__ == "__main__":
    main()
