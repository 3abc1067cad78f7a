"""Parts of geoloc that are installed on request: ``pip install 'geoloc[video]'``.

``flows``  Prefect's flows and the service of ``deploy/``   ``stac``   imagery of STAC catalogs
``xyz``    imagery of map servers                          ``video``  frames of videos
``train``  networks, trained or imported                   ``cuda``   one Dask worker a GPU
``text``   words as a query

``all`` is all of them. What each installs stands in ``pyproject.toml``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import NotInstalledError


@contextmanager
def extra(name: str, what: str) -> Iterator[None]:
    """Around the imports of an extra's packages, where they are made.

    ``what`` begins the message: "imagery of kind xyz", "clip.mp4 is a video and". Raises
    NotInstalledError, which names the package and how to install the extra, where one is missing.
    """
    try:
        yield
    except ModuleNotFoundError as missing:
        package = (missing.name or "").partition(".")[0]
        if package in ("", "geoloc", "flows"):  # a mistake of ours, which installing does not fix
            raise
        raise NotInstalledError(
            f"{what} needs {package.replace('_', '-')}: pip install 'geoloc[{name}]'"
        ) from None
