# SPDX-License-Identifier: Apache-2.0
"""What is read from the environment, each variable in one way for all."""

from __future__ import annotations

import os

_OFF = ("", "0", "false", "off", "no")


def debug() -> bool:
    """FASTSAFETENSORS_DEBUG: 0, false, off, no and nothing are off, everything else is on."""
    return os.environ.get("FASTSAFETENSORS_DEBUG", "").strip().lower() not in _OFF


def backend() -> str:
    """FASTSAFETENSORS_BACKEND: "cpp", "python", "mock" or "auto"."""
    name = os.environ.get("FASTSAFETENSORS_BACKEND", "").strip().lower() or "auto"
    if name not in ("cpp", "python", "mock", "auto"):
        raise ValueError(f"FASTSAFETENSORS_BACKEND is {name!r}: it is cpp, python, mock or auto")
    return name


def fallback(default: str) -> str:
    """FST3FS_FALLBACK: what a reader does where a file on 3FS cannot be read by rings."""
    return checked_fallback(os.environ.get("FST3FS_FALLBACK", "").strip().lower() or default)


def checked_fallback(name: str) -> str:
    if name not in ("never", "warn", "ok"):
        raise ValueError(f"the fallback is {name!r}: it is never, warn or ok")
    return name


def timeout() -> float | None:
    """FST3FS_TIMEOUT: seconds that one call may take; unset or empty is as long as something moves."""
    text = os.environ.get("FST3FS_TIMEOUT", "").strip()
    try:
        return float(text) if text else None
    except ValueError:
        raise ValueError(f"FST3FS_TIMEOUT is {text!r}: it is a number of seconds") from None
