"""How good answers are where the truth is known: ranks, recall, retrieval, calibration.

``ranks``          the study's metrics of the rank of a true place, each a small object
``pair_ranks``     ranks of millions of pairs, in blocks
``cells``          ranks of true cells among those of a cube, in passes over it
``retrieval``      average precision of finding images of the right class
``class_folders``  the same on folders of images, with its baselines
``bootstrap``      intervals, over places
``comparing``      two evaluations of the same photos, paired
``calibration``    "search x km2 for p %", and how often that holds
``normalisation``  scores that a bank of unrelated photos corrects
``truth``          truth files
``regions``        how often the region of a true place is good, and what that is worth
``vectors``        vectors of folders of images, kept from run to run
``tables``, ``plots``, ``files``  what is written of an evaluation

Distances: lower is better, NaN is missing.
"""

from .ranks import Placement, Summary, place, summarize
from .retrieval import (
    ClassRetrieval,
    average_precision,
    evaluate_classes,
    precision_at_best,
)
from .truth import Truth, read_truth

__all__ = [
    "ClassRetrieval",
    "Placement",
    "Summary",
    "Truth",
    "average_precision",
    "evaluate_classes",
    "place",
    "precision_at_best",
    "read_truth",
    "summarize",
]
