"""Answers of a query as files: raster, picture, vector, evidence and one self-contained page."""

from __future__ import annotations

from .match import Match
from .result import QueryResult
from .write import check_writable, write_report

__all__ = ["Match", "QueryResult", "check_writable", "write_report"]
