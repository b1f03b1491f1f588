"""From two raw frames to a difference, its candidates and their truth, as the pipeline does it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskPlane
from detection.algorithms.candidates import Candidates, find_candidates
from detection.algorithms.measurement import Measurement, measure
from detection.algorithms.triplets import cut_triplets
from differencing.algorithms.subtract import subtract
from differencing.algorithms.subtraction import Subtraction, SubtractionConfig
from preprocessing.algorithms.preprocess import PreprocessConfig, Preprocessed, preprocess_image
from preprocessing.algorithms.registration import register
from preprocessing.algorithms.stars import StarList
from preprocessing.algorithms.warp import warp

Values = NDArray[np.float64]
IndexArray = NDArray[np.int64]

#: Candidates for training are collected below the pipeline's own threshold [sigma], so that a model
#: knows the surroundings of what it will be asked.
TRAINING_THRESHOLD = 4.5
#: A candidate this near a true change, in FWHM, is that change,
_SAME_FWHM = 0.8
#: and one farther but within this is neither real nor bogus.
_UNCLEAR_FWHM = 2.5


@dataclass(frozen=True)
class RawPair:
    """Two raw frames of one field, and what truly changed between them.

    Attributes
    ----------
    earlier, later : Image
        As a camera delivers them.
    changes : NDArray[float64], shape (n, 3)
        (x, y) on the later frame [pix] and +1 or -1 for brightening or fading.
    kinds : list of str
        What each change is.
    snr : NDArray[float64], shape (n,)
        Significance it has in the best difference [sigma]; NaN where unknown.
    """

    earlier: Image
    later: Image
    changes: Values
    kinds: list[str]
    snr: Values


@dataclass(frozen=True)
class Treatment:
    """How a pair is worked on: weaker settings leave more residuals.

    Attributes
    ----------
    finds_cosmic_rays : bool
        Whether preprocessing looks for cosmic rays.
    is_aligned : bool
        Whether registration is skipped, so that a turn or a shift stays.
    subtraction : SubtractionConfig
        How the frames are subtracted.
    """

    finds_cosmic_rays: bool = True
    is_aligned: bool = False
    subtraction: SubtractionConfig = field(default_factory=SubtractionConfig)


@dataclass(frozen=True)
class DifferencedPair:
    """What the pipeline makes of a pair, all on the later frame's grid.

    Attributes
    ----------
    science, template : Image
        The later frame, and the earlier one warped to it.
    stars : StarList
        Of the later frame.
    difference : Subtraction
    """

    science: Image
    template: Image
    stars: StarList
    difference: Subtraction

    @property
    def fwhm_pix(self) -> float:
        """Width of the difference's PSF."""
        return self.difference.psf.fwhm_pix

    def find(self, threshold: float) -> Candidates:
        """Peaks of the score image with at least this significance [sigma]."""
        return find_candidates(self.difference, threshold=threshold)

    def measure(self, candidates: Candidates) -> list[Measurement]:
        """All that is measured of candidates."""
        return measure(self.difference, self.template, self.science, candidates, stars=self.stars)

    def cut(self, x: Values, y: Values) -> NDArray[np.float32]:
        """Cutouts (n, 4, 63, 63): science, template, difference, score."""
        return cut_triplets(self.science, self.template, self.difference, x, y)


def difference_pair(pair: RawPair, treatment: Treatment) -> DifferencedPair:
    """Preprocess, register, warp and subtract a pair of which a camera's masks are known.

    Raises
    ------
    AlgorithmError
        If a frame or the pair defeats a step.
    """
    config = PreprocessConfig(find_cosmic_rays=treatment.finds_cosmic_rays)
    earlier, later = (
        preprocess_image(as_delivered(frame), config) for frame in (pair.earlier, pair.later)
    )
    return difference_frames(earlier, later, treatment)


def difference_frames(
    earlier: Preprocessed, later: Preprocessed, treatment: Treatment
) -> DifferencedPair:
    """Register, warp and subtract two preprocessed frames; raises as ``difference_pair``."""
    found = register(
        earlier.image,
        earlier.stars,
        later.image,
        science_stars=later.stars,
        aligned=treatment.is_aligned,
    )
    template = warp(earlier.image, found, shape=later.image.shape)
    difference = subtract(template, later.image, stars=later.stars, config=treatment.subtraction)
    return DifferencedPair(later.image, template, later.stars, difference)


def as_delivered(image: Image) -> Image:
    """The frame with only the masks a camera delivers; the pipeline has to find the rest."""
    planes = np.uint16(MaskPlane.NO_DATA | MaskPlane.BAD_PIXEL)
    return image.with_(mask=(image.mask & planes).astype(np.uint16))


@dataclass(frozen=True)
class Places:
    """Where something was found; arrays of shape (n,): position [pix] and sign of the change."""

    x: Values
    y: Values
    sign: IndexArray

    def __len__(self) -> int:
        return len(self.x)

    @classmethod
    def of(cls, measured: list[Measurement]) -> Places:
        """Where measured candidates are."""
        return cls(
            x=np.array([m.x for m in measured], dtype=np.float64),
            y=np.array([m.y for m in measured], dtype=np.float64),
            sign=np.array([m.sign for m in measured], dtype=np.int64),
        )


def label_places(
    places: Places | Candidates, changes: Values, *, fwhm_pix: float
) -> tuple[IndexArray, IndexArray]:
    """Tell real from bogus by the truth.

    Parameters
    ----------
    places : Places or Candidates
        n found ones.
    changes : NDArray[float64], shape (m, 3)
        As in ``RawPair``.
    fwhm_pix : float
        Width of the difference's PSF.

    Returns
    -------
    label : NDArray[int64], shape (n,)
        1 real, 0 bogus, -1 where a true change is near but not there.
    nearest : NDArray[int64], shape (n,)
        The true change nearest to each; 0 where there are none.
    """
    label = np.zeros(len(places), dtype=np.int64)
    if len(changes) == 0 or len(places) == 0:
        return label, label
    distance, nearest = cKDTree(changes[:, :2]).query(np.column_stack([places.x, places.y]))
    distance = distance / fwhm_pix
    same = (distance <= _SAME_FWHM) & (places.sign == changes[nearest, 2])
    label[distance <= _UNCLEAR_FWHM] = -1
    label[same] = 1
    return label, nearest.astype(np.int64)
