# SPDX-License-Identifier: Apache-2.0
"""A ring client in Python that writes the memory itself: raw.c's twin for scripts, and as little able to
tell right from wrong.  Offsets and sizes stand here a third time, from the protocol's description.

Memory is touched through bare addresses (no object holds the mapping), so that an object can be shrunk or
unmapped at any moment; touching a page that is gone kills the process, as it would any client.
"""
import ctypes
import errno
import fcntl
import os
import struct
import time
import uuid

SHM = "/dev/shm/"
MAGIC_IOCTL, MAGIC = 0x80046802, 0x8F3F5FFF
VERSION_IOCTL, PATH_IOCTL, NAME_IOCTL, FSYNC_IOCTL = 0x80046803, 0x80046801, 0x80206800, 0x8004680B
SQE_HEAD, SQE_TAIL, CQE_HEAD, CQE_TAIL = 0, 4, 8, 12
SUFFIX = {-1: ".ph", 0: "", 1: ".pl"}

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
for call in (libc.sem_post, libc.sem_trywait):
    call.argtypes = [ctypes.c_void_p]
libc.sem_timedwait.argtypes = [ctypes.c_void_p, ctypes.c_char_p]


def ring_bytes(entries):
    return 96 * entries + 4240


def map_fd(fd, size):
    address = libc.mmap(None, size, 3, 1, fd, 0)
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "mmap")
    return address


class Shared:
    """A shared-memory object that nobody has registered: a name in /dev/shm, and its bytes."""

    def __init__(self, size, name=None, mode=0o600, mapped=None):
        self.name = name or f"hf3fs-iov-{uuid.uuid4()}"
        self.path = SHM + self.name
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        os.fchmod(self.fd, mode)
        os.ftruncate(self.fd, size)
        self.size = size
        self.mapped = size if mapped is None else mapped
        self.address = map_fd(self.fd, self.mapped) if self.mapped else None

    def read(self, offset, length):
        return ctypes.string_at(self.address + offset, length)

    def write(self, offset, data):
        ctypes.memmove(self.address + offset, data, len(data))

    def resize(self, size):
        os.ftruncate(self.fd, size)

    def unlink(self):
        if self.path:
            try:
                os.unlink(self.path)
            except FileNotFoundError:
                pass
            self.path = None

    def close(self):
        self.unlink()
        if self.address:
            libc.munmap(self.address, self.mapped)
            self.address = None
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Mount:
    """One mount: its control directory, and its submit semaphores mapped as any uid may."""

    def __init__(self, path):
        self.path = path
        self.iovs = os.path.join(path, "3fs-virt", "iovs")
        self.doorbells = {}

    def link(self, key):
        return os.path.join(self.iovs, key)

    def doorbell(self, priority=0):
        if priority not in self.doorbells:
            target = os.readlink(self.link("submit-ios" + SUFFIX[priority]))
            fd = os.open(target, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            self.doorbells[priority] = map_fd(fd, 32)
            os.close(fd)
        return self.doorbells[priority]

    def forget_doorbells(self):
        for address in self.doorbells.values():
            libc.munmap(address, 32)
        self.doorbells = {}

    def register(self, target, key):
        """None, or the name of the errno: what SYMLINK answered."""
        try:
            os.symlink(target, self.link(key))
        except OSError as error:
            return errno.errorcode[error.errno]
        return None

    def unregister(self, key):
        try:
            os.unlink(self.link(key))
        except OSError as error:
            return errno.errorcode[error.errno]
        return None

    def keys(self):
        return sorted(name for name in os.listdir(self.iovs) if not name.startswith("submit-ios"))


class Registered(Shared):
    """An object with a link in iovs/.  Its name in /dev/shm is gone once it is registered."""

    def __init__(self, mount, size, attributes="", key=None, keep_name=False, mode=0o600, mapped=None):
        super().__init__(size, mode=mode, mapped=mapped)
        self.mount = mount
        self.key = key or str(uuid.uuid4()) + attributes
        self.id = uuid.UUID(self.key.split(".")[0]).bytes
        error = mount.register(self.path, self.key)
        if error:
            self.key = None
            self.close()
            raise OSError(getattr(errno, error), f"symlink: {error}")
        if not keep_name:
            self.unlink()

    def unregister(self):
        answer = self.mount.unregister(self.key) if self.key else None
        self.key = None
        return answer

    def close(self):
        if self.key:
            self.unregister()
        super().close()


class Iov(Registered):
    def __init__(self, mount, size, block=0, **how):
        super().__init__(mount, size, f".b{block}" if block else "", **how)


class Ring(Registered):
    """A ring whose markers, places and slots are the caller's affair, with an honest way beside."""

    def __init__(self, mount, entries=16, write=False, depth=0, priority=0, timeout=0, flags=0, attributes=None,
                 **how):
        if attributes is None:
            attributes = f".{'w' if write else 'r'}{depth}{SUFFIX[priority]}.t{timeout}"
            attributes += f".f{flags:b}" if flags else ""
        how.setdefault("key", None)
        super().__init__(mount, ring_bytes(entries), attributes, **how)
        self.entries, self.places, self.priority = entries, entries + 1, priority
        self.head = self.tail = 0
        self.free = list(range(entries))
        self.userdata = {}
        self.next_userdata = 0x1000

    def word(self, offset):
        return ctypes.c_int32.from_address(self.address + offset).value

    def set_word(self, offset, value):
        ctypes.c_int32.from_address(self.address + offset).value = value

    @property
    def semaphore(self):
        return self.address + 16 + 96 * self.places

    def semaphore_bytes(self):
        return ctypes.string_at(self.semaphore, 32)

    # Raw: any slot, any place.
    def write_args(self, slot, iov_id, iov_offset, ino, offset, length, userdata=0):
        self.write(16 + 56 * slot, struct.pack("<16sQQQQQ", iov_id, iov_offset & 2**64 - 1, ino & 2**64 - 1,
                                               offset & 2**64 - 1, length & 2**64 - 1, userdata))

    def write_sqe(self, place, slot, userdata=0):
        self.write(16 + 80 * self.places + 16 * place, struct.pack("<iiQ", slot, 0, userdata))

    def read_cqe(self, place):
        index, _, result, userdata = struct.unpack("<iiqQ", self.read(16 + 56 * self.places + 24 * place, 24))
        return index, result, userdata

    def submit(self):
        libc.sem_post(self.mount.doorbell(self.priority))

    # Honest: the lowest free slot, the next place.
    def prepare(self, iov, iov_offset, ino, offset, length, userdata=None, slot=None, submission=None):
        """Takes a free slot and queues the request; returns the slot.  SUBMISSION is a lie about the slot."""
        if slot is None:
            slot = self.free.pop(0)
        if userdata is None:
            userdata = self.next_userdata
            self.next_userdata += 1
        self.userdata[slot] = userdata
        self.write_args(slot, iov if isinstance(iov, bytes) else iov.id, iov_offset, ino, offset, length, userdata)
        self.write_sqe(self.head, slot if submission is None else submission, userdata)
        self.head = (self.head + 1) % self.places
        self.set_word(SQE_HEAD, self.head)
        return slot

    def poll(self):
        """The completions that are there: a list of (slot, result, userdata)."""
        got = []
        while self.word(CQE_HEAD) != self.tail:
            got.append(self.read_cqe(self.tail))
            self.tail = (self.tail + 1) % self.places
            self.set_word(CQE_TAIL, self.tail)
            if 0 <= got[-1][0] < self.entries:
                self.free.append(got[-1][0])
                self.free.sort()
        return got

    def wait(self, count, seconds=5.0):
        """Up to COUNT completions, or what came within the time."""
        got, end = self.poll(), time.monotonic() + seconds
        while len(got) < count and time.monotonic() < end:
            libc.sem_timedwait(self.semaphore, time_spec(time.time() + 0.005))
            got += self.poll()
        return got

    def do(self, *requests, seconds=5.0):
        """Submits (iov, iov_offset, ino, offset, length) each; returns their results in that order."""
        slots = [self.prepare(*request) for request in requests]
        self.submit()
        results = {slot: (result, userdata) for slot, result, userdata in self.wait(len(slots), seconds)}
        for slot in slots:
            if slot not in results:
                raise TimeoutError(f"slot {slot} was not completed")
            if results[slot][1] != self.userdata[slot]:
                raise AssertionError(f"slot {slot} came back with another userdata")
        return [results[slot][0] for slot in slots]


def time_spec(seconds):
    return struct.pack("<qq", int(seconds), int(seconds % 1 * 1e9))


def magic(fd, command=MAGIC_IOCTL):
    answer = bytearray(4)
    fcntl.ioctl(fd, command, answer)
    return struct.unpack("<I", answer)[0]
