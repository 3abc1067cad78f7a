"""Weights that come as packages."""

from __future__ import annotations

import pytest

from geoloc.errors import ModelError, UsageError
from geoloc.models import trunks
from geoloc.models.trunks import TRUNKS, check_trunks, trunk_file, trunk_sha256


def test_the_weights_are_found_and_checked() -> None:
    check_trunks("m", {name: trunk_sha256(name) for name in TRUNKS})
    with pytest.raises(ModelError, match="made on weights 000000000000 of efficientnet_lite0"):
        check_trunks("m", {"efficientnet_lite0": "0" * 64})
    with pytest.raises(ModelError, match="known are"):
        check_trunks("m", {"vgg": "0" * 64})


def test_a_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(trunks.TRUNKS, "efficientnet_lite0", "no-such-package")
    with pytest.raises(UsageError, match="pip install no-such-package"):
        trunk_file("efficientnet_lite0")
