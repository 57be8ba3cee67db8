# SPDX-License-Identifier: Apache-2.0
"""Ring I/O on 3FS: memory (iovec), rings (ioring), and the functions around them.

    shm = SharedMemory(create=True, size=1 << 20)
    iov = hf3fs_fuse.io.make_iovec(shm, "/3fs")    # registers it
    ring = ioring("/3fs", 64)
    register_fd(fd)
    ring.prepare(iov[:4096], True, fd, 0).submit().wait(min_results=1)[0].result

help() tells about each.  A ring may be used from any number of threads, and so may everything else.
A forked child cannot use the rings of its parent (OSError EPERM) and makes its own.
"""

from weir._ring import (
    deregister_fd,
    extract_mount_point,
    force_fsync,
    hardlink,
    ioring,
    iovec,
    punch_hole,
    register_fd,
)

__all__ = [
    "deregister_fd",
    "extract_mount_point",
    "force_fsync",
    "hardlink",
    "ioring",
    "iovec",
    "punch_hole",
    "register_fd",
]
