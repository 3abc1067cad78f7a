"""Whole folders at once: photos, videos and chats in, an index of ranked places out.

``media``      what a folder holds
``copies``     which copy of a picture leads, what each claims
``mishaps``    one bad file costs itself, never the run
``pictures``   when two pictures are the same, and when they may show one place
``store``      what is done already
``reading``    files to vectors
``search``     vectors to answers, one pass over the cube for many
``entries``    what is told of each picture and cluster
``tables``     results.parquet, results.geojson, failures.csv
``page``       index.html
``run``        all of it in order
``answers``    the answers below a folder
``zoom``       each of them asked again, down to the cell
"""

from __future__ import annotations

from .run import BulkReport, run_bulk

__all__ = ["BulkReport", "run_bulk"]
