"""Make the shards of a triplet data set; what is there already is left as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.image import Image
from detection.training.real_triplets import read_labelled_alerts
from detection.training.triplet_dataset import write_manifest
from detection.training.triplet_engine import null_pair_triplets, simulate_engine_triplets
from detection.training.triplet_samples import TripletSamples, join_samples
from detection.training.triplet_simulation import simulate_triplets

Json = Any
Progress = Callable[[str], object]
Make = Callable[[], TripletSamples]

SKIES_A_SHARD = 40
#: Seeds of the light simulator begin here and those of the engine's skies there.
_FIRST_LIGHT, _FIRST_ENGINE = 100_000, 5_000
ALERTS = "ZTF"
#: Folders of the test data with frames of one field and, within them, files of one night each:
#: any two of a night are a null pair. The reference is named first.
_NIGHTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "saao_microlensing_kb13475": (
        ("AKB13475I0071.fits", "AKB13475I0072.fits", "AKB13475I0074.fits"),
        (
            "AKB13475I0098.fits",
            "AKB13475I0091.fits",
            "AKB13475I0093.fits",
            "AKB13475I0094.fits",
            "AKB13475I0100.fits",
            "AKB13475I0101.fits",
            "AKB13475I0103.fits",
            "AKB13475I0104.fits",
        ),
        ("AKB13475I0170.fits", "AKB13475I0171.fits", "AKB13475I0173.fits"),
    ),
    "decam_2018_transient/input_data": (
        tuple(f"DEC-OBS04{letter}.mini.fits" for letter in "abcde"),
        tuple(f"DEC-OBS18{letter}.mini.fits" for letter in "abcde"),
    ),
    "eso085_same_night_pair": (("aligned_eso085-030-004.fit", "aligned_eso085-030-005.fit"),),
}


@dataclass(frozen=True)
class DatasetPlan:
    """What a data set is made of.

    Attributes
    ----------
    n_light_skies, n_engine_pairs : int
        Skies of the light simulator and simulated pairs through the engine.
    seed : int
        Moves both ranges of seeds.
    has_null_pairs, has_alerts : bool
        Whether real frames and real alerts are added.
    """

    n_light_skies: int = 800
    n_engine_pairs: int = 150
    seed: int = 0
    has_null_pairs: bool = True
    has_alerts: bool = True


def build_dataset(
    folder: Path,
    *,
    plan: DatasetPlan,
    test_data: Path | None,
    read_raw: Callable[[Path], Image],
    progress: Progress,
) -> dict[str, Json]:
    """Make all shards that are not there yet and write the manifest, which is returned.

    Parameters
    ----------
    folder : Path
        Of the data set; an interrupted build goes on where it was.
    plan : DatasetPlan
        What it is made of.
    test_data : Path, optional
        Folder of real data; needed for null pairs and alerts.
    read_raw : callable
        Reads a FITS file with what its header says about the detector.
    progress : callable
        Gets one line for each shard.

    Raises
    ------
    ValueError
        If real data are asked for without a folder of them.
    """
    if test_data is None and (plan.has_null_pairs or plan.has_alerts):
        msg = "test_data: needed for null pairs and alerts"
        raise ValueError(msg)
    folder.mkdir(parents=True, exist_ok=True)
    refused = []
    for name, make in _shards(plan, test_data, read_raw):
        path = folder / f"{name}.npz"
        if path.exists():
            continue
        try:
            samples = make()
        except AlgorithmError as error:
            # a night that the engine refuses gives no candidates to anybody
            refused.append(name)
            progress(f"{name}: no samples, the engine refused it: {error}")
            continue
        draft = path.with_suffix(".draft")
        samples.save(draft)
        draft.replace(path)
        progress(f"{name}: {int(samples.is_real.sum())} real of {len(samples)}")
    return write_manifest(folder, provenance={"plan": asdict(plan), "refused": refused})


def _shards(
    plan: DatasetPlan, test_data: Path | None, read_raw: Callable[[Path], Image]
) -> Iterator[tuple[str, Make]]:
    """Name and maker of every shard."""
    step = SKIES_A_SHARD
    for block in range((plan.n_light_skies + step - 1) // step):
        first = _FIRST_LIGHT + 1_000_000 * plan.seed + block * step
        yield (
            f"light-{block:04d}",
            _light_maker(first, min(step, plan.n_light_skies - block * step)),
        )
    for i in range(plan.n_engine_pairs):
        seed = _FIRST_ENGINE + 100_000 * plan.seed + i
        yield f"engine-{seed:05d}", _engine_maker(seed)
    if test_data is not None and plan.has_null_pairs:
        yield from _null_pairs(test_data, read_raw)
    if test_data is not None and plan.has_alerts:
        alerts = test_data / "ztf_alerts_dev"
        yield "alerts-ztf", lambda: read_labelled_alerts(alerts, survey=ALERTS)


def _light_maker(first: int, count: int) -> Make:
    return lambda: join_samples([simulate_triplets(first + i) for i in range(count)])


def _engine_maker(seed: int) -> Make:
    return lambda: simulate_engine_triplets(seed)


def null_pair_files(part: str) -> Iterator[tuple[str, str]]:
    """Earlier and later frame of each null pair in one folder of the test data."""
    for night in _NIGHTS[part]:
        for name in night[1:]:
            yield f"{part}/{night[0]}", f"{part}/{name}"


def _null_pairs(test_data: Path, read_raw: Callable[[Path], Image]) -> Iterator[tuple[str, Make]]:
    """Pairs of one night: its first frame is the reference of the others."""
    seed = 0
    for part in _NIGHTS:
        survey = part.split("/")[0].split("_")[0]
        for earlier, later in null_pair_files(part):
            seed += 1
            pair = (test_data / earlier, test_data / later)
            yield (
                f"null-{survey}-{seed:02d}",
                _null_maker(pair, survey, seed, read_raw=read_raw),
            )


def _null_maker(
    pair: tuple[Path, Path], survey: str, seed: int, *, read_raw: Callable[[Path], Image]
) -> Make:
    return lambda: null_pair_triplets(
        read_raw(pair[0]),
        read_raw(pair[1]),
        survey=f"null pairs, {survey}",
        # one field: its stars are in every pair
        group=f"field-{survey}",
        seed=seed,
    )
