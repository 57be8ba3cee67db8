# SPDX-License-Identifier: Apache-2.0
"""The library with the vendor's C interface, called as a program calls it that was built for the vendor's: the
declarations are written here again, by number, and nothing of the tree is included."""
import ctypes
import os
import time

from rig import BUILD

PATH = os.path.join(os.path.abspath(BUILD), "compat", "hf3fs", "libhf3fs_api_shared.so")

c = ctypes


class Iov(c.Structure):
    _fields_ = [("base", c.c_void_p), ("iovh", c.c_void_p), ("id", c.c_ubyte * 16), ("mount_point", c.c_char * 256),
                ("size", c.c_size_t), ("block_size", c.c_size_t), ("numa", c.c_int)]

    def bytes(self, offset, length):
        return c.string_at(self.base + offset, length)


class Ior(c.Structure):
    _fields_ = [("iov", Iov), ("iorh", c.c_void_p), ("mount_point", c.c_char * 256), ("for_read", c.c_bool),
                ("io_depth", c.c_int), ("priority", c.c_int), ("timeout", c.c_int), ("flags", c.c_uint64)]


class Cqe(c.Structure):
    _fields_ = [("index", c.c_int32), ("reserved", c.c_int32), ("result", c.c_int64), ("userdata", c.c_void_p)]


class TimeSpec(c.Structure):
    _fields_ = [("tv_sec", c.c_long), ("tv_nsec", c.c_long)]


SIGNATURES = {
    "hf3fs_is_hf3fs": (c.c_bool, [c.c_int]),
    "hf3fs_extract_mount_point": (c.c_int, [c.c_char_p, c.c_int, c.c_char_p]),
    "hf3fs_iovcreate": (c.c_int, [c.POINTER(Iov), c.c_char_p, c.c_size_t, c.c_size_t, c.c_int]),
    "hf3fs_iovopen": (c.c_int, [c.POINTER(Iov), c.c_char_p, c.c_char_p, c.c_size_t, c.c_size_t, c.c_int]),
    "hf3fs_iovwrap": (c.c_int, [c.POINTER(Iov), c.c_void_p, c.c_char_p, c.c_char_p, c.c_size_t, c.c_size_t, c.c_int]),
    "hf3fs_iovunlink": (None, [c.POINTER(Iov)]),
    "hf3fs_iovdestroy": (None, [c.POINTER(Iov)]),
    "hf3fs_ior_size": (c.c_size_t, [c.c_int]),
    "hf3fs_iorcreate": (c.c_int, [c.POINTER(Ior), c.c_char_p, c.c_int, c.c_bool, c.c_int, c.c_int]),
    "hf3fs_iorcreate2": (c.c_int, [c.POINTER(Ior), c.c_char_p, c.c_int, c.c_bool, c.c_int, c.c_int, c.c_int]),
    "hf3fs_iorcreate3": (c.c_int, [c.POINTER(Ior), c.c_char_p, c.c_int, c.c_bool, c.c_int, c.c_int, c.c_int, c.c_int]),
    "hf3fs_iorcreate4": (c.c_int, [c.POINTER(Ior), c.c_char_p, c.c_int, c.c_bool, c.c_int, c.c_int, c.c_int,
                                   c.c_uint64]),
    "hf3fs_iordestroy": (None, [c.POINTER(Ior)]),
    "hf3fs_reg_fd": (c.c_int, [c.c_int, c.c_uint64]),
    "hf3fs_dereg_fd": (None, [c.c_int]),
    "hf3fs_io_entries": (c.c_int, [c.POINTER(Ior)]),
    "hf3fs_prep_io": (c.c_int, [c.POINTER(Ior), c.POINTER(Iov), c.c_bool, c.c_void_p, c.c_int, c.c_size_t, c.c_uint64,
                                c.c_void_p]),
    "hf3fs_submit_ios": (c.c_int, [c.POINTER(Ior)]),
    "hf3fs_wait_for_ios": (c.c_int, [c.POINTER(Ior), c.POINTER(Cqe), c.c_int, c.c_int, c.POINTER(TimeSpec)]),
    "hf3fs_hardlink": (c.c_int, [c.c_char_p, c.c_char_p]),
    "hf3fs_punchhole": (c.c_int, [c.c_int, c.c_int, c.POINTER(c.c_size_t), c.POINTER(c.c_size_t), c.c_size_t]),
}


def load(path=PATH):
    library = c.CDLL(path)
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def in_seconds(seconds):
    """A point of the wall clock, as the wait takes it."""
    at = time.time() + seconds
    return TimeSpec(int(at), int(at % 1 * 1e9))


class Client:
    """A buffer and a ring."""

    def __init__(self, library, mount, entries=8, size=1 << 16, block=0, read=True, depth=0, timeout=0, flags=0):
        self.library, self.mount = library, os.fsencode(mount)
        self.iov, self.ior, self.cqes = Iov(), Ior(), (Cqe * 256)()
        self.check(library.hf3fs_iovcreate(c.byref(self.iov), self.mount, size, block, -1))
        self.check(library.hf3fs_iorcreate4(c.byref(self.ior), self.mount, entries, read, depth, timeout, -1, flags))

    @staticmethod
    def check(result):
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return result

    def prepare(self, fd, offset, length, at=0, userdata=None):
        return self.library.hf3fs_prep_io(c.byref(self.ior), c.byref(self.iov), self.ior.for_read, self.iov.base + at,
                                          fd, offset, length, userdata)

    def submit(self):
        return self.library.hf3fs_submit_ios(c.byref(self.ior))

    def wait_raw(self, most=256, least=1, seconds=10.0):
        limit = None if seconds is None else c.byref(in_seconds(seconds))
        return self.library.hf3fs_wait_for_ios(c.byref(self.ior), self.cqes, most, least, limit)

    def wait(self, least=1, most=256, seconds=10.0):
        """[(index, result, userdata)]; an error is an OSError."""
        count = self.check(self.wait_raw(most, least, seconds))
        return [(q.index, q.result, q.userdata or 0) for q in self.cqes[:count]]

    def read(self, fd, offset, length, at=0):
        """One request, start to end: its result."""
        self.check(self.prepare(fd, offset, length, at))
        self.submit()
        (_, result, _), = self.wait()
        return result

    def close(self):
        self.library.hf3fs_iordestroy(c.byref(self.ior))
        self.library.hf3fs_iovdestroy(c.byref(self.iov))
