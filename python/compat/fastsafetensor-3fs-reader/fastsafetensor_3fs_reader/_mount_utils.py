# SPDX-License-Identifier: Apache-2.0
"""Which mount of 3FS a path is on."""

from __future__ import annotations

import os
import re

_ESCAPE = re.compile(r"\\([0-7]{3})")


def _unescaped(word: str) -> str:
    """mountinfo writes blanks and backslashes as octal numbers."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), word)


def _mounts() -> list[str]:
    """Mount points that may be 3FS: by their type, or all of them where the user says so."""
    any_type = os.environ.get("HF3FS_USRBIO_DONT_CHECKFS_FOR_MP") == "yes"
    found = []
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                before, _, after = line.partition(" - ")
                if any_type or after.startswith("fuse.hf3fs "):
                    found.append(_unescaped(before.split(" ")[4]))
    except OSError:
        return []
    return found


def is_beneath(path: str, mount: str) -> bool:
    """Is a path, its links followed, the mount or inside it?  Whole names count: /a2 is not beneath /a."""
    if not mount:
        return False
    real, top = os.path.realpath(path), os.path.realpath(mount)
    return real == top or real.startswith(top.rstrip("/") + "/")


def extract_mount_point(path: str) -> str:
    """The mount of 3FS that a path is on, or "" where it is on none; the path need not exist."""
    real = os.path.realpath(os.fsdecode(path))
    above = [mount for mount in _mounts() if is_beneath(real, mount)]
    for mount in sorted(above, key=len, reverse=True):
        if os.path.isdir(os.path.join(mount, "3fs-virt")):
            return mount
    return ""
