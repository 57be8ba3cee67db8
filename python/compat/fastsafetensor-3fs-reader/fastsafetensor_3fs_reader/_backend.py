# SPDX-License-Identifier: Apache-2.0
"""Which reader `ThreeFSFileReader` is.

A forced backend is taken or its ImportError is raised; otherwise the first of cpp, python and mock that can
be imported.  What each has of 3FS is another question: `capabilities()` answers it.
"""

from __future__ import annotations

import importlib
from typing import Any

from . import _environment

_CLASSES = {
    "cpp": (".reader_cpp", "ThreeFSFileReaderCpp"),
    "python": (".reader_py", "ThreeFSFileReaderPy"),
    "mock": (".mock", "MockFileReader"),
}

_BACKEND: str = "mock"
ThreeFSFileReader: Any = None


def _class_of(name: str) -> Any:
    module, attribute = _CLASSES[name]
    return getattr(importlib.import_module(module, __package__), attribute)


def _load_backend() -> tuple[str, Any]:
    """The chosen backend's name and class."""
    wanted = _environment.backend()
    if wanted != "auto":
        return wanted, _class_of(wanted)
    for name in ("cpp", "python"):
        try:
            return name, _class_of(name)
        except ImportError:
            continue
    return "mock", _class_of("mock")


def init_backend() -> None:
    """Chooses the backend; the package does so once, when it is imported."""
    global _BACKEND, ThreeFSFileReader
    _BACKEND, ThreeFSFileReader = _load_backend()


def get_backend() -> str:
    """ "cpp", "python" or "mock"."""
    return _BACKEND


def is_available() -> bool:
    """Is the backend one that can read by rings?  (Not whether there is a 3FS to read from.)"""
    return _BACKEND in ("cpp", "python")


def create_reader(backend: str = "auto", **kwargs: Any) -> Any:
    """A reader of the named backend, "auto" for the chosen one; keywords go to its constructor."""
    if backend == "auto":
        if ThreeFSFileReader is None:
            raise RuntimeError("no backend is chosen yet: call init_backend()")
        return ThreeFSFileReader(**kwargs)
    if backend not in _CLASSES:
        raise ValueError(f"the backend is {backend!r}: it is auto, cpp, python or mock")
    return _class_of(backend)(**kwargs)
