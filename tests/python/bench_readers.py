# SPDX-License-Identifier: Apache-2.0
"""Readers for the tests of the bench: one that is exactly as fast as it says, and some that fail."""
import ctypes
import os
import time

BYTES_PER_SECOND = 1e9


class Steady:
    """Delivers BYTES_PER_SECOND in each process, without a look at the files."""

    def __init__(self, mount_point, entries=64, buffer_size=0):
        self.started = False

    def read_chunked(self, path, dev_ptr, file_offset, total_length, chunk_size=0):
        time.sleep(total_length / BYTES_PER_SECOND)
        return total_length

    def read_headers_batch(self, paths, num_threads=8):
        time.sleep(len(paths) / 1000)
        return {path: ("{}", 10, 10) for path in paths}

    def close(self):
        pass


class Failing(Steady):
    def read_chunked(self, path, dev_ptr, file_offset, total_length, chunk_size=0):
        raise OSError(5, "the disk is gone", path)


class Dying(Steady):
    def read_chunked(self, path, dev_ptr, file_offset, total_length, chunk_size=0):
        os._exit(7)


class Short(Steady):
    def read_chunked(self, path, dev_ptr, file_offset, total_length, chunk_size=0):
        return total_length - 1


class Liar(Steady):
    """Says that it has read, and has not."""

    def read_chunked(self, path, dev_ptr, file_offset, total_length, chunk_size=0):
        return total_length


class Unwilling:
    def __init__(self, mount_point, entries=64, buffer_size=0):
        raise RuntimeError("no ring to be had")


class Honest(Steady):
    """Reads what it says."""

    def read_chunked(self, path, dev_ptr, file_offset, total_length, chunk_size=0):
        with open(path, "rb", buffering=0) as file:
            place = (ctypes.c_char * total_length).from_address(dev_ptr)
            return os.preadv(file.fileno(), [place], file_offset)
