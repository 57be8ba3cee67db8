# SPDX-License-Identifier: Apache-2.0
"""library_runai.py: Run:ai's C library without its Python, memory kept.

Takes jobs as the yardsticks do, "OFFSET LENGTH PATH" a line, and reads each range into the same huge
pages, touched once. The strategy is the library's own choice unless RUNAI_STREAMER_FS_STRATEGY names
one. The range goes in as pieces of 64 MiB, as a model's tensors would; their addresses agree with the
file modulo the block that the library asks for, so that it can read directly.
"""
import ctypes
import mmap
import sys

from runai_model_streamer.libstreamer.libstreamer import (runai_end, runai_probe_direct_block_size, runai_request,
                                                          runai_response, runai_start)

from window import Window, version

PIECE = 64 << 20
HUGE = 2 << 20
SPARE = 64 << 10  # room to shift a destination until it agrees with the file


class Memory:
    def __init__(self):
        self.size = 0

    def get(self, size):
        """The address of at least that much touched memory, aligned to a huge page."""
        if size + SPARE > self.size:
            self.size = (size + SPARE + HUGE - 1) // HUGE * HUGE
            self.map = mmap.mmap(-1, self.size + HUGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            self.map.madvise(mmap.MADV_HUGEPAGE)
            start = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
            self.at = (start + HUGE - 1) // HUGE * HUGE
            ctypes.memset(self.at, 1, self.size)
        return self.at


def read(streamer, path, offset, length, at):
    starts = range(0, length, PIECE)
    sizes = [min(PIECE, length - start) for start in starts]
    runai_request(streamer, [path], [len(sizes)], [offset + start for start in starts], sizes,
                  [at + start for start in starts])
    for _ in sizes:
        code, _, _, _, _ = runai_response(streamer)
        if code:
            raise RuntimeError(f"response {code}")


def main():
    streamer, memory = runai_start(), Memory()
    for line in sys.stdin:
        offset, length, path = line.rstrip("\n").split(" ", 2)
        offset, length = int(offset), int(length)
        block = runai_probe_direct_block_size(streamer, [path])
        at = memory.get(length) + offset % block
        with Window() as window:
            read(streamer, path, offset, length, at)
        window.report(length, version=version("runai-model-streamer"))
    runai_end(streamer)


if __name__ == "__main__":
    main()
