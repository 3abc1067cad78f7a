"""Several models in tandem: cubes of the same places, asked together.

Their distances become z-scores, by a bank of unrelated photos where there is one, and are averaged:
see `geoloc.evaluation.tandem`. The answer shows for each place what every single model says of it.

``members``     the models and their cubes, opened together, and what is usual of each
``answering``   what they find, together; as a `Searcher`
``notes``       what their reader has to know, in sentences
``scene``       a scene without a photo, by those that know it
``evaluating``  whether all together are better than the better one alone
"""

from __future__ import annotations

from ...report.tandem import TandemPlace
from .answering import TandemAnswer, TandemSearcher, search_tandem
from .evaluating import Compared, TandemEvaluation, evaluate_tandem
from .members import TANDEM, TANDEM_BANK, Tandem, assemble, distance_maps, open_area, open_tandem
from .scene import open_scene

__all__ = [
    "TANDEM",
    "TANDEM_BANK",
    "Compared",
    "Tandem",
    "TandemAnswer",
    "TandemEvaluation",
    "TandemPlace",
    "TandemSearcher",
    "assemble",
    "distance_maps",
    "evaluate_tandem",
    "open_area",
    "open_scene",
    "open_tandem",
    "search_tandem",
]
