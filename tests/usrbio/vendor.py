# SPDX-License-Identifier: Apache-2.0
"""The vendor's C interface, declared here from its description and not from our header, over ctypes: what a
binding that was written for the vendor's library does with ours."""
import ctypes
import os
import time
import unittest

from rig import BUILD

LIBRARY = os.path.join(os.path.abspath(BUILD), "compat", "hf3fs", "libhf3fs_api_shared.so")


class Iov(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("handle", ctypes.c_void_p), ("id", ctypes.c_uint8 * 16),
                ("mount_point", ctypes.c_char * 256), ("size", ctypes.c_size_t), ("block_size", ctypes.c_size_t),
                ("numa", ctypes.c_int)]


class Ior(ctypes.Structure):
    _fields_ = [("iov", Iov), ("handle", ctypes.c_void_p), ("mount_point", ctypes.c_char * 256),
                ("for_read", ctypes.c_bool), ("io_depth", ctypes.c_int), ("priority", ctypes.c_int),
                ("timeout", ctypes.c_int), ("flags", ctypes.c_uint64)]


class Cqe(ctypes.Structure):
    _fields_ = [("index", ctypes.c_int32), ("reserved", ctypes.c_int32), ("result", ctypes.c_int64),
                ("userdata", ctypes.c_void_p)]


class Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_int64), ("nanoseconds", ctypes.c_int64)]


OFFSETS = {Iov: (312, {"base": 0, "handle": 8, "id": 16, "mount_point": 32, "size": 288, "block_size": 296,
                       "numa": 304}),
           Ior: (600, {"iov": 0, "handle": 312, "mount_point": 320, "for_read": 576, "io_depth": 580,
                       "priority": 584, "timeout": 588, "flags": 592}),
           Cqe: (24, {"index": 0, "reserved": 4, "result": 8, "userdata": 16})}

I, B, S, P, U, C = (ctypes.c_int, ctypes.c_bool, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_char_p)
PROTOTYPES = {
    "hf3fs_is_hf3fs": (B, I),
    "hf3fs_extract_mount_point": (I, P, I, C),
    "hf3fs_iovcreate": (I, P, C, S, S, I),
    "hf3fs_iovopen": (I, P, P, C, S, S, I),
    "hf3fs_iovunlink": (None, P),
    "hf3fs_iovdestroy": (None, P),
    "hf3fs_iovwrap": (I, P, P, P, C, S, S, I),
    "hf3fs_ior_size": (S, I),
    "hf3fs_iorcreate": (I, P, C, I, B, I, I),
    "hf3fs_iorcreate2": (I, P, C, I, B, I, I, I),
    "hf3fs_iorcreate3": (I, P, C, I, B, I, I, I, I),
    "hf3fs_iorcreate4": (I, P, C, I, B, I, I, I, U),
    "hf3fs_iordestroy": (None, P),
    "hf3fs_reg_fd": (I, I, U),
    "hf3fs_dereg_fd": (None, I),
    "hf3fs_io_entries": (I, P),
    "hf3fs_prep_io": (I, P, P, B, P, I, S, U, P),
    "hf3fs_submit_ios": (I, P),
    "hf3fs_wait_for_ios": (I, P, P, I, I, P),
    "hf3fs_hardlink": (I, C, C),
    "hf3fs_punchhole": (I, I, I, P, P, S),
}


def load(path=LIBRARY):
    if os.environ.get("WEIR_SANITIZED"):
        raise unittest.SkipTest("a sanitizer's runtime would have to be there before Python")
    library = ctypes.CDLL(path)
    for name, (result, *arguments) in PROTOTYPES.items():
        call = getattr(library, name)
        call.restype, call.argtypes = result, arguments
    return library


def at(seconds_from_now):
    """A point of the wall clock, as wait_for_ios takes it."""
    end = time.time() + seconds_from_now
    return ctypes.byref(Timespec(int(end // 1), int(end % 1 * 1e9)))


class Client:
    """An iov and a ring through the library; what it returns comes back as it is."""

    def __init__(self, library, mount, entries=16, read=True, size=1 << 20, depth=0, timeout=0, flags=0, block=0):
        self.library, self.iov, self.ior = library, Iov(), Ior()
        self.answer = library.hf3fs_iovcreate(ctypes.byref(self.iov), mount.encode(), size, block, -1)
        if not self.answer:
            self.answer = library.hf3fs_iorcreate4(ctypes.byref(self.ior), mount.encode(), entries, read, depth,
                                                   timeout, -1, flags)
        self.read, self.entries = read, entries
        self.cqes = (Cqe * max(entries, 64))()

    def prepare(self, fd, offset, length, at_byte=0, userdata=None, read=None, pointer=None):
        return self.library.hf3fs_prep_io(ctypes.byref(self.ior), ctypes.byref(self.iov),
                                          self.read if read is None else read,
                                          self.iov.base + at_byte if pointer is None else pointer, fd, offset, length,
                                          userdata)

    def submit(self):
        return self.library.hf3fs_submit_ios(ctypes.byref(self.ior))

    def wait(self, most, least, until=None):
        """A negative number, or a list of (slot, result, userdata)."""
        count = self.library.hf3fs_wait_for_ios(ctypes.byref(self.ior), self.cqes, most, least, until)
        if count < 0:
            return count
        return [(cqe.index, cqe.result, cqe.userdata) for cqe in self.cqes[:count]]

    def do(self, fd, offset, length, at_byte=0, seconds=5):
        """One request's result; an answer of wait where it failed."""
        slot = self.prepare(fd, offset, length, at_byte, 77)
        if slot < 0:
            return slot
        self.submit()
        got = self.wait(1, 1, at(seconds))
        if not isinstance(got, list):
            return got
        return got[0][1] if got and got[0][0] == slot and got[0][2] == 77 else got

    def bytes(self, offset, length):
        return ctypes.string_at(self.iov.base + offset, length)

    def close(self):
        self.library.hf3fs_iordestroy(ctypes.byref(self.ior))
        self.library.hf3fs_iovdestroy(ctypes.byref(self.iov))
