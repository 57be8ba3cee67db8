# SPDX-License-Identifier: Apache-2.0
"""Reads safetensors from 3FS and from files: the package fastsafetensors' loader "3fs" imports, on weir.

    from fastsafetensor_3fs_reader import ThreeFSFileReader

    with ThreeFSFileReader("/mnt/3fs") as reader:
        headers = reader.read_headers_batch(paths)
        reader.read_chunked(path, address, offset, length)

`FASTSAFETENSORS_BACKEND` chooses what `ThreeFSFileReader` is: "cpp" (weir's native reader, also the default),
"python" (over `hf3fs_fuse.io`) or "mock" (files only).  `capabilities()` says what is there and why
something is not.
"""

import os
import sys

from ._lib_preload import get_hf3fs_lib_path, preload_hf3fs_library

preload_hf3fs_library()

from ._mount_utils import extract_mount_point  # noqa: E402
from ._backend import create_reader, get_backend, init_backend, is_available  # noqa: E402
from .interface import FileReaderInterface  # noqa: E402
from .mock import MockFileReader  # noqa: E402

init_backend()

from ._backend import ThreeFSFileReader  # noqa: E402
from ._capabilities import capabilities as capabilities  # noqa: E402

__version__ = "0.3.4"

__all__ = [
    "FileReaderInterface",
    "ThreeFSFileReader",
    "MockFileReader",
    "extract_mount_point",
    "get_hf3fs_lib_path",
    "is_available",
    "get_backend",
    "create_reader",
]

# Opt-in: fastsafetensors gets weir's asynchronous copier under the name 3fs.  It imports this package while it
# makes a loader, and is complete by then; what has not imported it yet may register for itself.
if os.environ.get("WEIR_FASTSAFETENSORS_3FS") == "1" and "fastsafetensors.loader" in sys.modules:
    from weir.fastsafetensors import register as _register

    _register()
