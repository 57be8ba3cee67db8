# SPDX-License-Identifier: Apache-2.0
"""Finds the library of the 3FS client and loads it, so that modules linked against it find its symbols.

weir's own reader speaks the protocol of 3FS itself and needs no such library; the python backend may sit on
a module that does.  Looked for, in this order: the directory HF3FS_LIB_DIR, those of LD_LIBRARY_PATH, and
what lies beside an installed hf3fs_py_usrbio.  What cannot be loaded is passed over, and remembered.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

logger = logging.getLogger(__name__)

_LIB_NAME = "libhf3fs_api_shared.so"
_preloaded_path: str | None = None

# Path and reason of what was found and could not be loaded.
_failures: dict[str, str] = {}

_VERSIONED = re.compile(re.escape(_LIB_NAME) + r"\.(\d+(?:\.\d+)*)")


def _version_of(path: Path) -> tuple[int, ...]:
    match = _VERSIONED.fullmatch(path.name)
    return tuple(map(int, match[1].split("."))) if match else ()


def _candidates(directory: Path) -> list[Path]:
    """The library in a directory: under its own name, then with versions, the newest first."""
    try:
        versioned = [path for path in directory.iterdir() if _VERSIONED.fullmatch(path.name)]
    except OSError:
        return []
    named = sorted(versioned, key=_version_of, reverse=True)
    return [path for path in (directory / _LIB_NAME, *named) if path.is_file()]


def _glob_lib(directory: Path | str, rejected: Collection[str] = ()) -> str | None:
    """The best candidate in a directory that was not rejected before."""
    for path in _candidates(Path(directory)):
        if str(path) not in rejected:
            return str(path)
    return None


def _first(directories: Iterator[Path], rejected: Collection[str]) -> str | None:
    found = (_glob_lib(directory, rejected) for directory in directories)
    return next((path for path in found if path), None)


def _find_in_env_var(rejected: Collection[str] = ()) -> str | None:
    directory = os.environ.get("HF3FS_LIB_DIR", "")
    return _glob_lib(directory, rejected) if directory else None


def _find_in_ld_library_path(rejected: Collection[str] = ()) -> str | None:
    words = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    return _first((Path(word.strip()) for word in words if word.strip()), rejected)


def _find_in_pip_packages(rejected: Collection[str] = ()) -> str | None:
    try:
        spec = importlib.util.find_spec("hf3fs_py_usrbio")
    except (ModuleNotFoundError, ValueError):
        return None
    if spec is None or not spec.origin:
        return None
    home = Path(spec.origin).parent
    package = home if spec.origin.endswith(".py") else None
    site = home.parent if package else home
    directories = [site / "hf3fs_py_usrbio.libs", site]
    directories += [package / "lib", package] if package else []
    return _first(iter(directories), rejected)


def _do_preload(path: str) -> bool:
    global _preloaded_path
    try:
        ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        _failures[path] = str(error)
        logger.warning("%s cannot be loaded: %s", path, error)
        return False
    _preloaded_path = path
    logger.debug("%s is loaded", path)
    return True


def preload_hf3fs_library() -> bool:
    """Loads the first library that can be loaded, once; says whether one is.  Never raises."""
    if _preloaded_path is not None:
        return True
    tried: set[str] = set()
    for find in (_find_in_env_var, _find_in_ld_library_path, _find_in_pip_packages):
        path = find(tried)
        while path and path not in tried:
            if _do_preload(path):
                return True
            tried.add(path)
            path = find(tried)
    logger.debug("no %s to load", _LIB_NAME)
    return False


def get_hf3fs_lib_path() -> str | None:
    """The path that was loaded, or None."""
    return _preloaded_path


def soname_answers() -> bool:
    """Is what was loaded found under its right name, as modules linked against it will look for it?"""
    try:
        ctypes.CDLL(_LIB_NAME, mode=os.RTLD_NOLOAD | ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True


def failures() -> dict[str, str]:
    """Path and reason of each library that could not be loaded."""
    return dict(_failures)
