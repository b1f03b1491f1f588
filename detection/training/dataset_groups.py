"""Groups of samples that must stay together, the sides they go to, and the proof that they do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from astropy_healpix import healpy as cells
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from detection.training.labelled_cutouts import Sample
from detection.training.triplet_dataset import SPLIT_AT, SPLITS

#: HEALPix order of a sky cell, 0.23 degrees wide, as people's verdicts are drawn by.
CELL_ORDER = 8
#: Cutouts whose middles are nearer share sky, whatever cell they are in [arcsec].
_OVERLAP_ARCSEC = 64.0
#: Real and bogus that validation and test should hold at least.
LEAST_PER_CLASS = 5


@dataclass(frozen=True)
class Grouping:
    """Which samples belong together and on which side each group lies.

    Attributes
    ----------
    names : list of str
        Group of each sample, in order.
    split : dict
        Side of each group.
    keys : tuple of str
        What was kept together: "object", "sky cell", "night".
    cuts : tuple of float
        Where the shares of the groups' hashes change from training to validation to test.
    note : str
        Why nights are not kept together, where they are not.
    """

    names: list[str]
    split: dict[str, str]
    keys: tuple[str, ...]
    cuts: tuple[float, float]
    note: str

    def side_of(self, row: int) -> str:
        """Side of one sample."""
        return self.split[self.names[row]]


def group_and_split(
    samples: Sequence[Sample], *, same: Iterable[tuple[int, int]] = (), is_strict: bool = False
) -> Grouping:
    """Put samples of one object, sky cell or night together and each group on one side.

    A group's side follows from the hash of its name, so that it keeps it in later versions; the
    cuts move only as far as validation and test need to hold five of each class.

    Parameters
    ----------
    samples : sequence of Sample
        In any order.
    same : iterable of (int, int)
        Rows that show one picture, and stay together too.
    is_strict : bool
        Keep nights together even if that leaves no three groups.

    Notes
    -----
    A survey that returns to its fields joins all of them through its nights. Where that leaves no
    way to fill three sides, object and sky cell alone are kept together, and ``note`` says so.
    """
    pairs = list(same)
    by_night = _grouping(samples, pairs, keys=("object", "sky cell", "night"))
    if is_strict or not _lacks(samples, by_night):
        return by_night
    by_sky = _grouping(samples, pairs, keys=("object", "sky cell"))
    if _lacks(samples, by_sky):
        return by_night
    n_groups = len(by_night.split)
    note = (
        f"Nights are not kept together: they join all fields into {n_groups} "
        f"group{'' if n_groups == 1 else 's'}, too few for three sides with both classes."
    )
    return Grouping(by_sky.names, by_sky.split, by_sky.keys, by_sky.cuts, note)


def _grouping(
    samples: Sequence[Sample], same: Sequence[tuple[int, int]], *, keys: tuple[str, ...]
) -> Grouping:
    names = _group_names(samples, same, keys=keys)
    split, cuts = choose_splits(names, [s.is_real for s in samples])
    return Grouping(names, split, keys, cuts, "")


def _lacks(samples: Sequence[Sample], grouping: Grouping) -> bool:
    """Whether some side holds none of a class."""
    held = {(grouping.side_of(i), s.is_real) for i, s in enumerate(samples)}
    return len(held) < 2 * len(SPLITS)


def keys_of(sample: Sample) -> dict[str, str]:
    """What ties a sample to others, by the kind of tie; unknown ties are absent."""
    found = {"group": f"{sample.source} {sample.group}" if sample.group else ""}
    found["object"] = f"{sample.survey} {sample.owner}" if sample.owner else ""
    found["night"] = sample.night
    if sample.ra is not None and sample.dec is not None:
        cell = cells.ang2pix(2**CELL_ORDER, sample.ra % 360.0, sample.dec, nest=True, lonlat=True)
        found["sky cell"] = f"cell {int(cell)}"
    return {name: value for name, value in found.items() if value}


def _group_names(
    samples: Sequence[Sample], same: Sequence[tuple[int, int]], *, keys: tuple[str, ...]
) -> list[str]:
    """The least key of the samples that hang together names their group."""
    first: dict[tuple[str, str], int] = {}
    links = [*same, *_overlapping(samples)]
    for i, sample in enumerate(samples):
        for name, value in keys_of(sample).items():
            if name in {*keys, "group"}:
                links.append((i, first.setdefault((name, value), i)))
    n = len(samples)
    ends = np.array(links, dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(n, n))
    _, component = connected_components(graph, directed=False)
    least: dict[int, str] = {}
    for label, sample in zip(component.tolist(), samples, strict=True):
        least[label] = min(least.get(label, sample.key), sample.key)
    return [least[label] for label in component.tolist()]


def _overlapping(samples: Sequence[Sample]) -> list[tuple[int, int]]:
    """Rows whose cutouts share sky across the border of a cell."""
    places = [(i, s.ra, s.dec) for i, s in enumerate(samples) if s.ra is not None]
    rows = [i for i, _, _ in places]
    if len(rows) < 2:
        return []
    ra, dec = np.deg2rad(np.array([[ra, dec] for _, ra, dec in places], dtype=np.float64)).T
    on_sphere = np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    reach = 2.0 * np.sin(np.deg2rad(_OVERLAP_ARCSEC / 3600.0) / 2.0)
    return [(rows[i], rows[j]) for i, j in cKDTree(on_sphere).query_pairs(reach)]


def choose_splits(
    names: Sequence[str], is_real: Sequence[bool]
) -> tuple[dict[str, str], tuple[float, float]]:
    """Side of each group, and the two cuts.

    Parameters
    ----------
    names : sequence of str
        Group of each sample.
    is_real : sequence of bool
        Class of each sample.
    """
    share = {name: _share(name) for name in sorted(set(names))}
    order = sorted(share, key=lambda name: (share[name], name))
    counts = {name: np.zeros(2, dtype=np.int64) for name in order}
    for name, real in zip(names, is_real, strict=True):
        counts[name][int(real)] += 1
    first, second = SPLIT_AT
    second = _moved(order, counts, share, below=1.1, cut=second)
    first = _moved(order, counts, share, below=second, cut=min(first, second))
    split = {
        name: "train" if share[name] < first else "validation" if share[name] < second else "test"
        for name in order
    }
    return split, (first, second)


def _moved(
    order: Sequence[str],
    counts: Mapping[str, NDArray[np.int64]],
    share: Mapping[str, float],
    *,
    below: float,
    cut: float,
) -> float:
    """The cut, lowered until the groups from it to ``below`` hold enough of each class.

    As it was where even all of them do not: then there is nothing to be gained.
    """
    held, lowered = np.zeros(2, dtype=np.int64), cut
    # a third of what there is, of a small set, must stay to learn from
    wanted = np.minimum(LEAST_PER_CLASS, np.sum([counts[n] for n in order], axis=0) // 4)
    for name in reversed([name for name in order if share[name] < below]):
        if share[name] < cut and (held >= np.maximum(wanted, 1)).all():
            return lowered
        held = held + counts[name]
        lowered = min(lowered, share[name])
    return cut


def _share(group: str) -> float:
    return int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) / 2**32


def refuse_shared_keys(
    samples: Sequence[Sample], sides: Sequence[str], *, keys: Iterable[str]
) -> None:
    """Raise ``ValueError`` where an object, a sky cell, a night or a group is on two sides.

    Looks at the samples themselves, not at the groups that were made of them.
    """
    wanted = {*keys, "group"}
    seen: dict[tuple[str, str], tuple[str, str]] = {}
    for sample, side in zip(samples, sides, strict=True):
        for name, value in keys_of(sample).items():
            if name not in wanted:
                continue
            other, key = seen.setdefault((name, value), (side, sample.key))
            if other != side:
                msg = f"leakage: {name} {value} is in {other} ({key}) and in {side} ({sample.key})"
                raise ValueError(msg)
