"""Parameters of the deployed flow; its runs are in test_flows.py."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("prefect")

from prefect.exceptions import ParameterTypeError

from flows.zoom import zoom

RIGHT = {"answer": "/data/answers/street_1"}


def test_what_is_needed_is_an_answer() -> None:
    assert zoom.parameters.required == ["answer"]
    given = zoom.validate_parameters(RIGHT)
    assert (given["rank"], given["km"], given["region"]) == (1, 6.0, False)


@pytest.mark.parametrize(
    "wrong",
    [{"rank": 0}, {"km": 0}, {"km": 101}, {"step": 0}, {"answer": "answers/street_1"},
     {"out": "zoom"}, {"cube": "area.yaml"}, {"cluster": "moon"}],
    ids=str,
)  # fmt: skip
def test_what_is_not_valid_is_refused_before_a_run(wrong: dict[str, Any]) -> None:
    with pytest.raises(ParameterTypeError, match=next(iter(wrong))):
        zoom.validate_parameters({**RIGHT, **wrong})
