"""torchvision, imported without TorchDynamo, the compiler that nothing here uses.

One of its detection operators asks `torch._dynamo`, as it is imported, for a function that it may
call one day. That brings 900 modules: more seconds than torch and torchvision take together, in
every worker and at every query. While torchvision is imported, stand-ins lie in their place; they
bring in the real ones as soon as anything else is wanted of them, or that function is called.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from types import ModuleType
from typing import Any

_COMPILER, _UTILITIES = "torch._dynamo", "torch._dynamo.utils"
_PUT_OFF = "is_compile_supported"
_LOCK = Lock()


class _StandIn(ModuleType):
    """Gives way to the module of its name when asked for any attribute but those set here.

    Those that Python itself asks of every module, as ``__file__``, it does without; ``__path__``
    is asked of a package whose parts are wanted.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and (name != "__path__" or self.__name__ != _COMPILER):
            raise AttributeError(name)
        _remove()
        return getattr(importlib.import_module(self.__name__), name)


def torchvision(name: str = "") -> Any:
    """The module ``torchvision``, or that of this ``name`` below it, as "models".

    Raises ModuleNotFoundError where torchvision is not installed.
    """
    with _LOCK, _compiler_put_off():
        return importlib.import_module(f"torchvision.{name}".rstrip("."))


@contextmanager
def _compiler_put_off() -> Iterator[None]:
    if _COMPILER in sys.modules or "torchvision" in sys.modules:
        yield
        return
    utilities = _StandIn(_UTILITIES)
    setattr(utilities, _PUT_OFF, _later(_PUT_OFF))
    sys.modules |= {_COMPILER: _StandIn(_COMPILER), _UTILITIES: utilities}
    try:
        yield
    finally:
        _remove()


def _later(name: str) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        return getattr(importlib.import_module(_UTILITIES), name)(*args, **options)

    return call


def _remove() -> None:
    for name in (_COMPILER, _UTILITIES):
        if isinstance(sys.modules.get(name), _StandIn):
            del sys.modules[name]
