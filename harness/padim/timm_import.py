"""timm, imported without torch's compiler, which takes more than twice as long as all the rest of it.

torchvision's RoI operators import the compiler for one predicate, and one of timm's networks marks functions that must
not be compiled. Neither is called here. While timm is imported, stand-ins take the compiler's place that import it when
they are first called; so whoever calls them later gets what he would have got.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import FunctionType, ModuleType
from typing import Any

_COMPILER, _UTILS = "torch._dynamo", "torch._dynamo.utils"


def import_timm() -> Any:
    """timm, as `import timm` gives it."""
    if "timm" not in sys.modules:
        with _compiler_deferred():
            importlib.import_module("timm")
    return sys.modules["timm"]


@contextmanager
def _compiler_deferred() -> Iterator[None]:
    import torch  # noqa: F401  (before the stand-ins are there)

    if _COMPILER in sys.modules:
        yield
        return
    compiler, utils = _StandIn(_COMPILER), _StandIn(_UTILS)
    vars(compiler).update(__path__=[], utils=utils, disable=_disable)
    vars(utils).update(is_compile_supported=_is_compile_supported)
    finder = _Finder()
    sys.modules |= {_COMPILER: compiler, _UTILS: utils}
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        _remove_stand_ins()


class _StandIn(ModuleType):
    """A module of the compiler's; whatever else it is asked for, it fetches from the real one."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # importlib, warnings and inspect look at every module
            raise AttributeError(name)
        return getattr(_real(self.__name__), name)


class _Finder(MetaPathFinder):
    """Finds the compiler's other modules, of which the stand-ins know nothing: in the real one."""

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        """Import the real compiler and that module, and give that to whoever asked."""
        if not fullname.startswith(f"{_COMPILER}.") or not isinstance(sys.modules.get(_COMPILER), _StandIn):
            return None
        _real(_COMPILER)
        return ModuleSpec(fullname, _There(importlib.import_module(fullname)))


class _There(Loader):
    """Loads a module that has been loaded."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module."""
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        """Undo what the import system has changed."""
        module.__spec__ = self._spec


def _remove_stand_ins() -> None:
    for name in (_UTILS, _COMPILER):
        if isinstance(sys.modules.get(name), _StandIn):
            del sys.modules[name]


def _real(name: str) -> ModuleType:
    _remove_stand_ins()
    return importlib.import_module(name)


def _is_compile_supported(device_type: str) -> bool:
    return bool(_real(_UTILS).is_compile_supported(device_type))


def _disable(fn: Any = None, recursive: bool = True, **options: Any) -> Any:
    """As torch._dynamo.disable: a function that the compiler leaves alone."""
    if not isinstance(fn, FunctionType):
        return _real(_COMPILER).disable(fn, recursive, **options)

    @functools.cache
    def disabled() -> Callable[..., Any]:
        made: Callable[..., Any] = _real(_COMPILER).disable(fn, recursive, **options)
        return made

    @functools.wraps(fn)
    def call(*arguments: Any, **named: Any) -> Any:
        return disabled()(*arguments, **named)

    return call
