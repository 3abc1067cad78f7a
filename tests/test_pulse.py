"""Shares of a long computation reach who listens, and nobody else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from geoloc.pulse import listening, tell


def test_who_listens_is_told_the_innermost_first() -> None:
    outer: list[float] = []
    inner: list[float] = []
    tell(0.1)
    with listening(outer.append):
        tell(0.2)
        with listening(inner.append):
            tell(0.3)
        tell(0.4)
    tell(0.5)
    assert (outer, inner) == ([0.2, 0.4], [0.3])


def test_another_thread_is_not_heard() -> None:
    heard: list[float] = []
    with listening(heard.append), ThreadPoolExecutor(1) as pool:
        pool.submit(tell, 0.5).result()
    assert heard == []
