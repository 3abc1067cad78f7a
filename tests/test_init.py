"""The public names of the package."""

from __future__ import annotations

import subprocess
import sys

import pytest

import geoloc


def test_every_public_name_is_there_and_documented() -> None:
    for name in geoloc.__all__:
        value = getattr(geoloc, name)
        assert name in dir(geoloc)
        if name not in ("Area", "__version__"):
            assert f"    {name} " in (geoloc.__doc__ or ""), name
            assert value.__doc__


def test_all_names_have_a_home() -> None:
    assert set(geoloc.__all__) == {*geoloc._HOME_OF, "__version__"}


def test_a_star_import_gives_the_public_names() -> None:
    names: dict[str, object] = {}
    exec("from geoloc import *", names)
    assert set(geoloc.__all__) <= set(names)


def test_what_is_not_public_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        geoloc.nothing  # noqa: B018


def test_importing_the_package_imports_nothing_of_it() -> None:
    code = "import sys, geoloc; print([m for m in sys.modules if m.startswith('geoloc.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
