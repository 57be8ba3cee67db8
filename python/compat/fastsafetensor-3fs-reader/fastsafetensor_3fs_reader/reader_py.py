# SPDX-License-Identifier: Apache-2.0
"""The backend "python": files on 3FS through the Python client (`hf3fs_fuse.io`), others as files.

Where the client is not installed, or its ring cannot be had, everything is read as a file; a failed ring is
said in the log.  `fallback="never"` makes it an error.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
import threading
import time
from typing import Any

import weir

from . import _environment
from ._device import Target
from ._mount_utils import extract_mount_point, is_beneath
from ._native_reader import NativeFileReader
from ._rings import Job, Lane, Lanes

try:
    import hf3fs_fuse.io as _client
except ImportError:
    _client = None

logger = logging.getLogger(__name__)


def check_library() -> bool:
    """Is the 3FS client of Python there?"""
    return _client is not None


class _File:
    """A file on 3FS: its descriptor, registered, and the version that it had.

    It ends with the last reference, so that none that is read from is closed.
    """

    fd = -1

    def __init__(self, path: str) -> None:
        self._pid = os.getpid()
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.version = _version_of(os.fstat(self.fd))
        _client.register_fd(self.fd)

    def __del__(self) -> None:
        if self.fd < 0:
            return
        if self._pid == os.getpid():
            _client.deregister_fd(self.fd)
        os.close(self.fd)


def _version_of(stat: os.stat_result) -> tuple[int, ...]:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


def _as_ours(error: OSError, path: str) -> weir.Error:
    """A failure of the system's or the client's, in the class that every reader raises."""
    names = {errno.ENOENT: "NOTFOUND", errno.EACCES: "DENIED", errno.EPERM: "DENIED"}
    code = names.get(error.errno or 0, "IO")
    return weir.errors.from_native(code, f"{path}: {error.strerror or error}", path, errno=error.errno or 0)


class ThreeFSFileReaderPy(NativeFileReader):
    """Reads files beneath mount_point through rings of `hf3fs_fuse.io`, others as files.

    entries is the size of a ring; buffer_size how large the memory at `iov_base` is, and what a ring's own
    memory stays below.  io_depth above 0 would let the daemon wait for requests that never come, so it is
    taken as 0.  Of other keywords only fallback ("never", "warn", "ok") means something.
    """

    def __init__(
        self,
        mount_point: str,
        entries: int = 128,
        io_depth: int = 0,
        buffer_size: int = 1024 * 1024 * 1024,
        **kwargs: Any,
    ) -> None:
        if entries == 0:
            raise ZeroDivisionError("a ring of 0 entries")
        super().__init__(mount_point, buffer_size, "files")
        self._fallback = _environment.checked_fallback(kwargs.get("fallback") or _environment.fallback("warn"))
        self._lock = threading.Lock()
        self._files: dict[str, _File] = {}
        self._promised: dict[str, tuple[int, ...]] = {}
        self._ring_bytes = self._ring_reads = 0
        self._cancelled = 0  # how often
        self._pid = os.getpid()
        self._lanes: Lanes | None = None
        if _client is not None:
            self._try_a_lane(Lanes(lambda: Lane(_client, mount_point, entries, io_depth, buffer_size)))
        elif extract_mount_point(mount_point):
            self._without_rings(OSError(errno.ENOSYS, "there is no hf3fs_fuse.io"))

    def _try_a_lane(self, lanes: Lanes) -> None:
        try:
            with lanes.lane():
                self._lanes = lanes
        except OSError as error:
            self._without_rings(error)

    def _without_rings(self, error: OSError) -> None:
        """The policy for a ring that cannot be had: an error, or files from now on."""
        if self._fallback == "never":
            raise _as_ours(error, self._mount_point) from error
        if self._fallback == "warn":
            logger.warning("%s is read without rings: %s", self._mount_point, error)
        self._fallback_reason = str(error)

    def read_chunked(
        self,
        path: str,
        dev_ptr: int,
        file_offset: int,
        total_length: int,
        chunk_size: int = 0,
        pipelined: bool = False,
    ) -> int:
        if pipelined:
            logger.warning("pipelined makes no difference with this backend")
        if int(dev_ptr) < 0:
            raise TypeError(f"{dev_ptr} is no address")
        if not self._goes_by_rings(path):
            return super().read_chunked(path, dev_ptr, file_offset, total_length, chunk_size)
        began = time.perf_counter()
        try:
            got = self._read_by_rings(os.fsdecode(path), dev_ptr, file_offset, total_length, chunk_size)
        except OSError as error:
            raise error if isinstance(error, weir.Error) else _as_ours(error, os.fsdecode(path)) from error
        if _environment.debug():
            self._told(f"read_chunked {path!r} offset {file_offset}: {got} of {total_length} bytes", began)
        return got

    def _goes_by_rings(self, path: str) -> bool:
        if self._pid != os.getpid():
            raise weir.Closed("this reader was made before a fork: make one in each process")
        return self._lanes is not None and is_beneath(os.fsdecode(path), self._mount_point)

    def _read_by_rings(self, path: str, address: int, offset: int, length: int, chunk: int) -> int:
        deadline = None if self.timeout is None else time.monotonic() + self.timeout
        file = self._open(path)
        if length > 0 and offset < 0:
            raise weir.Error(f"{path}: no file has bytes at offset {offset}", object=path, errno=errno.EINVAL)
        length = min(length, os.fstat(file.fd).st_size - offset)
        if length <= 0:
            return 0
        piece = max(chunk, 4096) if chunk > 0 else sys.maxsize
        with self._lanes.lane() as lane:
            before = self._cancelled
            lane.read(Job(path, file.fd, offset, length, piece, Target(address), deadline,
                          lambda: self._cancelled != before))  # fmt: skip
        with self._lock:
            self._ring_bytes += length
            self._ring_reads += 1
        return length

    def _open(self, path: str) -> _File:
        """The file that the path means now; an error where its header was that of another."""
        now = _version_of(os.stat(path))
        with self._lock:
            promised, file = self._promised.get(path), self._files.get(path)
            if file is not None and file.version != now:
                self._files.pop(path)
                file = None
            if promised not in (None, now):
                del self._promised[path]
                raise weir.Error(f"{path}: is not the file any more whose header was read", code="CHANGED",
                                 object=path, errno=errno.ESTALE)  # fmt: skip
            if file is None:
                file = self._files[path] = _File(path)
            return file

    def read_headers_batch(
        self, paths: list[str], num_threads: int = 8
    ) -> dict[str, tuple[str, int, int]]:
        paths = list(paths)
        before = {path: _stat_or_none(path) for path in paths}
        found = super().read_headers_batch(paths, num_threads)
        with self._lock:
            self._promised.update((os.fsdecode(path), version) for path, version in before.items() if version)
        return found

    def has_fd(self, path: str) -> bool:
        return os.fsdecode(path) in self._files or super().has_fd(path)

    def close(self) -> None:
        with self._lock:
            files, self._files = self._files, {}
            self._promised.clear()
        files.clear()
        if self._lanes is not None:
            self._lanes.close()
        super().close()

    def cancel(self) -> None:
        with self._lock:
            self._cancelled += 1
        super().cancel()

    cancel.__doc__ = NativeFileReader.cancel.__doc__

    def statistics(self) -> dict[str, Any]:
        counted = super().statistics()
        counted["reads"] += self._ring_reads
        counted["ring_bytes"] += self._ring_bytes
        return counted

    @property
    def fallback(self) -> str:
        return self._fallback

    @fallback.setter
    def fallback(self, name: str) -> None:
        self._fallback = _environment.checked_fallback(name)

    def _told(self, what: str, began: float) -> None:
        print(f"[ThreeFSReader_py] {what}, {(time.perf_counter() - began) * 1e3:.3f} ms", file=sys.stderr)

    def __del__(self) -> None:
        if getattr(self, "_pid", None) == os.getpid():
            self.close()


def _stat_or_none(path: str) -> tuple[int, ...] | None:
    try:
        return _version_of(os.stat(path))
    except OSError:
        return None
