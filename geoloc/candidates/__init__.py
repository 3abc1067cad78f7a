"""From distances to places: the best cells, areas to search, and regions of a country.

``candidate``  the best places of a search, explained
``areas``      where candidates lie together: areas to search
``regions``    which regions of a map are good, and how they are ranked
"""

from .candidate import (
    Candidate,
    candidates_of,
    explain_candidates,
    percentile_of,
    shared_scenes,
    with_attributes,
)

__all__ = [
    "Candidate",
    "candidates_of",
    "explain_candidates",
    "percentile_of",
    "shared_scenes",
    "with_attributes",
]
