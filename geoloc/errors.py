"""The one error tree of geoloc.

    GeolocError                 the work failed (exit code 1)
    ├── UsageError              what was asked makes no sense (exit code 2)
    │   ├── AreaError           an area file or its values
    │   └── UnknownClassError   a scene class that the model does not have
    ├── ImageryError            imagery that cannot be read or does not cover the area
    ├── ModelError              a model directory that is damaged, unsafe or unfit
    ├── CubeError               a feature cube that is damaged, missing or incomplete
    │   ├── SpecMismatchError   a cube that was made from another specification
    │   └── UnavailableError    a cube that may be had later: out of reach, or being written
    ├── PhotoError              a photo that cannot be decoded
    ├── ClusterError            a Dask cluster that cannot be reached or started
    ├── NotInstalledError       a part of geoloc that is installed on request
    └── OutputError             results that cannot be written

Every message is one line, names the offending value and says what to do about it.
"""

from __future__ import annotations


class GeolocError(Exception):
    """Base of all errors that geoloc raises on purpose; ``str()`` of it is one line."""

    exit_code = 1


class UsageError(GeolocError):
    """What was asked makes no sense; nothing was computed."""

    exit_code = 2


class AreaError(UsageError):
    """An area file, or a value in it, is not valid."""


class UnknownClassError(UsageError):
    """A scene class that the model does not have."""


class ImageryError(GeolocError):
    """Imagery cannot be read or does not cover the area."""


class ModelError(GeolocError):
    """A model directory is damaged, unsafe to load, or unfit for what was asked."""


class CubeError(GeolocError):
    """A feature cube is missing, damaged or incomplete."""


class SpecMismatchError(CubeError):
    """A cube at this place was made from another specification."""


class UnavailableError(CubeError):
    """A cube cannot be had or completed just now: the same may work in a minute.

    Its store or its imagery is out of reach or overloaded, or somebody else writes to it.
    """


class PhotoError(GeolocError):
    """A photo cannot be decoded or must not be."""


class ClusterError(GeolocError):
    """A Dask cluster cannot be reached or started."""


class NotInstalledError(GeolocError):
    """A part of geoloc that is installed on request is not installed: see `geoloc.extras`."""


class OutputError(GeolocError):
    """Results cannot be written."""
