"""From distances to places: the best cells, areas to search, and regions of a country.

``candidate``  the best places of a search, explained
``areas``      where candidates lie together: areas to search
``regions``    which regions of a map are good, and how they are ranked
"""

from .areas import SearchArea, search_areas
from .candidate import (
    Candidate,
    candidates_of,
    explain_candidates,
    percentile_of,
    shared_scenes,
    with_attributes,
)
from .regions import RankedRegions

__all__ = [
    "Candidate",
    "RankedRegions",
    "SearchArea",
    "candidates_of",
    "explain_candidates",
    "percentile_of",
    "search_areas",
    "shared_scenes",
    "with_attributes",
]
