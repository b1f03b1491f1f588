"""Real alert triplets with labels, read from a folder of NPZ and CSV as the test data have it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from detection.training.triplet_samples import TripletSamples

#: Kind of the samples whose label only follows the survey's own score.
SURVEY_SCORE = "survey score"
_TRIPLETS, _TABLE = "triplets.npz", "metadata.csv"
#: Objects whose cutouts share sky are one group [arcsec].
_CUTOUT_ARCSEC = 64.0


def read_labelled_alerts(folder: Path, *, survey: str) -> TripletSamples:
    """Labelled triplets of real alerts; those of unknown nature are left out.

    Parameters
    ----------
    folder : Path
        With ``triplets.npz`` (triplets) and ``metadata.csv`` (objectId, ra, dec, label,
        label_confidence, label_reason, bogus_kind, magpsf, sigmapsf), row by row.
    survey : str
        Kept with every sample.

    Returns
    -------
    TripletSamples
        ``kind`` is the class of what is there, or "survey score" where only the survey's own
        score says so; ``group`` joins one object's alerts, and objects whose cutouts overlap.

    Raises
    ------
    ValueError
        If table and triplets differ in length.
    """
    with (folder / _TABLE).open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    with np.load(folder / _TRIPLETS, allow_pickle=False) as stored:
        triplets = stored["triplets"]
    if len(rows) != len(triplets):
        msg = f"{folder}: {len(rows)} rows for {len(triplets)} triplets"
        raise ValueError(msg)
    samples = TripletSamples(
        triplets=triplets,
        is_real=np.array([row["label"] == "real" for row in rows]),
        kind=np.array([_kind(row) for row in rows], dtype="U32"),
        group=_groups(rows, survey=survey),
        survey=np.array([survey] * len(rows), dtype="U32"),
        # the alert's own photometry: 1.0857 is 2.5 / ln 10
        snr=np.array([1.0857 / float(row["sigmapsf"] or "nan") for row in rows]),
    )
    return samples.select(np.array([row["label"] in {"real", "bogus"} for row in rows]))


def _kind(row: dict[str, str]) -> str:
    """Class of a sample in the words of the simulators."""
    if row["label"] == "bogus":
        return f"bogus: {row['bogus_kind'].replace('_', ' ')}"
    if row["label_confidence"] != "gold":
        return SURVEY_SCORE
    reason = row["label_reason"]
    if reason.startswith("asteroid"):
        return "asteroid"
    if "SN " in reason or "TDE" in reason:
        return "supernova"
    return "variable" if reason.startswith("SIMBAD") else "spectroscopic, other"


def _groups(rows: list[dict[str, str]], *, survey: str) -> NDArray[np.str_]:
    """One name for alerts of one object and for objects whose cutouts overlap."""
    ra = np.deg2rad([float(row["ra"]) for row in rows])
    dec = np.deg2rad([float(row["dec"]) for row in rows])
    on_sphere = np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    reach = 2.0 * np.sin(np.deg2rad(_CUTOUT_ARCSEC / 3600.0) / 2.0)
    pairs = cKDTree(on_sphere).query_pairs(reach, output_type="ndarray")
    first: dict[str, int] = {}
    same = [(i, first.setdefault(row["objectId"], i)) for i, row in enumerate(rows)]
    links = np.concatenate([pairs.reshape(-1, 2), np.array(same)])
    n = len(rows)
    graph = coo_array((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(n, n))
    _, component = connected_components(graph, directed=False)
    name: dict[int, str] = {}
    for i, label in enumerate(component):
        name.setdefault(int(label), f"{survey}-{rows[i]['objectId']}")
    return np.array([name[int(label)] for label in component], dtype="U64")
