# SPDX-License-Identifier: Apache-2.0
"""What is there, and why something is not."""

from __future__ import annotations

import ctypes
from typing import Any

from . import _backend, _environment, _lib_preload


def _library() -> dict[str, Any]:
    path = _lib_preload.get_hf3fs_lib_path()
    failures = _lib_preload.failures()
    if path and not _lib_preload.soname_answers():
        reason = f"{path} does not call itself {_lib_preload._LIB_NAME}: modules linked to it look elsewhere"
    elif path:
        reason = ""
    elif failures:
        reason = "; ".join(f"{name}: {why}" for name, why in failures.items())
    else:
        reason = f"no {_lib_preload._LIB_NAME} in HF3FS_LIB_DIR, LD_LIBRARY_PATH or beside hf3fs_py_usrbio"
    return {"usable": bool(path) and not reason, "path": path, "reason": reason, "failures": failures}


def _module(name: str, needed_for: str) -> dict[str, Any]:
    try:
        __import__(name)
    except ImportError as error:
        return {"usable": False, "reason": f"{error} (only needed for {needed_for})"}
    return {"usable": True, "reason": ""}


def _cuda() -> dict[str, Any]:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return {"usable": False, "reason": str(error)}
    return {"usable": True, "reason": ""}


def capabilities() -> dict[str, Any]:
    """What was asked for, what is used, and for each thing that may be absent whether it is and why.

        requested    FASTSAFETENSORS_BACKEND, or "auto"
        backend      what ThreeFSFileReader is
        native       weir's reader: cpp, mock, and files of python
        hf3fs_fuse   the 3FS client of Python, for rings of the python backend
        library      libhf3fs_api_shared.so, which only other people's modules need
        cuda         the driver, without which addresses are of host memory

    Each of the last four is a dict with `usable` and `reason`.
    """
    return {
        "requested": _environment.backend(),
        "backend": _backend.get_backend(),
        "native": _module("weir._native", "everything"),
        "hf3fs_fuse": _module("hf3fs_fuse.io", "rings of the python backend"),
        "library": _library(),
        "cuda": _cuda(),
    }
