# SPDX-License-Identifier: Apache-2.0
"""Where a mount of 3FS is."""

import os
from pathlib import PurePosixPath

from hf3fs_py_usrbio import extract_mount_point

__all__ = ["get_mount_point"]


def get_mount_point(p: str | os.PathLike[str]) -> str:
    """The mount that a path lies on; the path's first two directories where that is not on 3FS."""
    path = os.path.realpath(p)
    return extract_mount_point(path) or os.path.join(*PurePosixPath(path).parts[:3])
