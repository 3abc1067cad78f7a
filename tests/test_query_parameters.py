"""Options as parameters of functions."""

from __future__ import annotations

import inspect

import pytest

from geoloc.errors import UsageError
from geoloc.query.options import QueryOptions, Use
from geoloc.query.parameters import Given, spread


def given(model: type[QueryOptions], use: Use) -> list[Given]:
    """Some of the options, one of them by two parameters."""
    assert model is QueryOptions and use is Use.QUERY
    return [
        Given("top", "top", int, 20, "How many."),
        Given("generation", "generation", str | None, None, "A name."),
        Given("generation", "date", str | None, None, "A day."),
        Given("radius", "km", float | None, None, r"Apart, \1 km.", lambda km: km and km * 1000),
    ]


def function(cube: str, *, options: QueryOptions, last: bool = False) -> tuple[str, bool, object]:
    """Ask.

    Args:
        cube: a cube
        options: all of them
        last: or not
    """
    return cube, last, options


spread_out = spread(function, Use.QUERY, given)


def test_the_parameters_stand_where_the_options_stood() -> None:
    signature = inspect.signature(spread_out)
    assert list(signature.parameters) == ["cube", "top", "generation", "date", "km", "last"]
    assert signature.parameters["top"].default == 20
    assert signature.parameters["date"].annotation == str | None
    assert spread_out.__name__ == "function"


def test_the_docstring_describes_each_of_them() -> None:
    assert inspect.getdoc(spread_out) == (
        "Ask.\n\nArgs:\n    cube: a cube\n    top: How many.\n    generation: A name.\n"
        "    date: A day.\n    km: Apart, \\1 km.\n    last: or not"
    )


def test_what_is_passed_becomes_a_model() -> None:
    assert spread_out("c") == ("c", False, QueryOptions())
    expected = QueryOptions(top=3, radius=2000, generation="g1")
    assert spread_out("c", 3, km=2, date="g1", last=True) == ("c", True, expected)


def test_what_is_not_valid_is_refused() -> None:
    with pytest.raises(UsageError, match="generation and date: give one of them"):
        spread_out("c", generation="g1", date="g2")
    with pytest.raises(UsageError, match="top: Input should be"):
        spread_out("c", 0)
    with pytest.raises(TypeError):
        spread_out("c", options=QueryOptions())
