"""Canaries: candidates whose truth is known, that every model in service scores again and again."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.errors import AlgorithmError
from detection.training.feature_dataset import simulate_pair_of
from detection.training.pair_chain import Places, difference_pair, label_places
from detection.training.regimes import REGIMES, Regime

Values = NDArray[np.float64]
Truth = NDArray[np.bool_]
Progress = Callable[[float, str], object]

#: A little below that of the pipeline, for enough of the bogus [sigma].
THRESHOLD = 4.5
#: Seeds from here on are of canaries alone: no training draws from them.
FIRST_SEED = 990_000
#: So many of each at most from one pair: no night outvotes the others.
_MAX_REAL, _MAX_BOGUS = 16, 16
_SHAPE = (512, 512)
_MEMBERS = ("cutouts", "is_real", "snr", "group", "features")


@dataclass(frozen=True)
class Canaries:
    """Candidates as the pipeline finds them, with their truth; rows belong together.

    Attributes
    ----------
    cutouts : NDArray[float32], shape (n, 4, 63, 63)
        Science, template, difference, score.
    features : list of dict
        ``Measurement.features``.
    is_real : NDArray[bool], shape (n,)
        Whether a source was put there.
    snr : NDArray[float64], shape (n,)
        |score| [sigma].
    group : NDArray[str], shape (n,)
        The pair of frames each comes from.
    """

    cutouts: NDArray[np.float32]
    features: list[dict[str, float | None]]
    is_real: Truth
    snr: Values
    group: NDArray[np.str_]

    def __post_init__(self) -> None:
        n = len(self.cutouts)
        lengths = [len(each) for each in (self.features, self.is_real, self.snr, self.group)]
        if any(length != n for length in lengths):
            msg = f"lengths differ: {n} cutouts, {lengths} features, truths, S/N and groups"
            raise ValueError(msg)

    def __len__(self) -> int:
        return len(self.cutouts)

    @property
    def n_real(self) -> int:
        """How many are real."""
        return int(self.is_real.sum())

    @property
    def n_bogus(self) -> int:
        """How many are bogus."""
        return len(self) - self.n_real

    def to_bytes(self) -> bytes:
        """An NPZ without pickled parts; the same canaries give the same bytes."""
        file = io.BytesIO()
        told = json.dumps(self.features, sort_keys=True).encode()
        np.savez_compressed(
            file,
            cutouts=self.cutouts,
            is_real=self.is_real,
            snr=self.snr,
            group=self.group,
            features=np.frombuffer(told, dtype=np.uint8),
        )
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Canaries:
        """Read what ``to_bytes`` wrote.

        Raises
        ------
        ValueError
            If it is something else.
        """
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            missing = [name for name in _MEMBERS if name not in file]
            if missing:
                msg = f"no canaries: the file lacks {', '.join(missing)}"
                raise ValueError(msg)
            return cls(
                file["cutouts"],
                json.loads(file["features"].tobytes()),
                file["is_real"],
                file["snr"],
                file["group"],
            )


def simulate_canaries(
    *,
    progress: Progress,
    regimes: Sequence[Regime] = REGIMES,
    seed: int = FIRST_SEED,
    shape: tuple[int, int] = _SHAPE,
) -> Canaries:
    """Real by injection, bogus by the truth of simulated nights, through the pipeline's own chain.

    Parameters
    ----------
    progress : callable
        Told the fraction done and what is done.
    regimes : sequence of Regime
        One pair of frames is made of each.
    seed : int
        Of the first pair; each further one has the next.
    shape : tuple of int
        Of the frames [pix].

    Returns
    -------
    Canaries
        The same for the same arguments.

    Raises
    ------
    AlgorithmError
        If no pair gives candidates of both kinds.
    """
    parts: list[Canaries] = []
    for i, regime in enumerate(regimes):
        progress(i / len(regimes), f"canaries of night {i + 1} of {len(regimes)}: {regime.name}")
        drawn = replace(
            regime, pair=replace(regime.pair, shape=shape, transient_density_per_mpix=160.0)
        )
        try:
            parts.append(_canaries_of(drawn, seed=seed + i))
        except AlgorithmError:
            # a night that defeats the engine gives no candidates to anybody
            continue
    if not any(p.n_real for p in parts) or not any(p.n_bogus for p in parts):
        msg = "no canaries: the simulated nights give candidates of one kind only"
        raise AlgorithmError(msg, n_pairs=len(parts))
    return Canaries(
        np.concatenate([p.cutouts for p in parts]),
        [row for p in parts for row in p.features],
        np.concatenate([p.is_real for p in parts]),
        np.concatenate([p.snr for p in parts]),
        np.concatenate([p.group for p in parts]),
    )


def _canaries_of(regime: Regime, *, seed: int) -> Canaries:
    pair = simulate_pair_of(regime, seed=seed)
    made = difference_pair(pair, regime.treatment)
    measured = made.measure(made.find(THRESHOLD))
    places = Places.of(measured)
    label, _ = label_places(places, pair.changes, fwhm_pix=made.fwhm_pix)
    rng = np.random.default_rng([seed, 71])
    rows = np.sort(
        np.concatenate([_some(label == 1, rng, _MAX_REAL), _some(label == 0, rng, _MAX_BOGUS)])
    )
    return Canaries(
        made.cut(places.x[rows], places.y[rows]),
        [_plain(measured[i].features) for i in rows],
        label[rows] == 1,
        np.array([abs(measured[i].score) for i in rows], dtype=np.float64),
        np.array([f"{regime.name} {seed}"] * len(rows), dtype="U64"),
    )


def _some(wanted: Truth, rng: np.random.Generator, most: int) -> NDArray[np.int64]:
    rows = np.flatnonzero(wanted)
    return rows if len(rows) <= most else rng.choice(rows, size=most, replace=False)


def _plain(features: Mapping[str, Any]) -> dict[str, float | None]:
    """Numbers as JSON keeps them: what is not finite is not measured."""
    return {
        name: float(value) if value is not None and np.isfinite(value) else None
        for name, value in features.items()
    }
