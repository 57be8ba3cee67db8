#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ring-python: the reader fastsafetensor-3fs-reader, in Python, put where ring-client stands.

    ring-python.py MOUNT FILE BLOCK DEPTH PASSES

Its Python backend reads FILE over a ring of DEPTH entries, BLOCK bytes each, PASSES times, to nowhere (a destination
of 0 is not copied to). One line of JSON: requests, and the processor time of this process. It wants the published wheel
and hf3fs_fuse on the path (row U7 of bench/ring sets both)."""
import json
import os
import sys
import time


def main():
    mount, path, block, depth, passes = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
    os.environ.update(FASTSAFETENSORS_BACKEND="python", THREEFS_MOUNT_POINT=mount)
    import fastsafetensor_3fs_reader as package
    reader = package.ThreeFSFileReader(mount, entries=depth, buffer_size=block * depth)
    if not reader.iov_base:
        raise SystemExit("the reader found no rings, and would read the file by itself")
    size = os.path.getsize(path) // block * block
    reader.read_chunked(path, 0, 0, size, block * depth)
    start, before = time.monotonic(), time.process_time()
    for _ in range(passes):
        if reader.read_chunked(path, 0, 0, size, block * depth) != size:
            raise SystemExit("the reader read less than the file has")
    print(json.dumps({"requests": passes * size // block, "wall_seconds": time.monotonic() - start,
                      "cpu_seconds": time.process_time() - before, "backend": package.get_backend()}))


if __name__ == "__main__":
    main()
