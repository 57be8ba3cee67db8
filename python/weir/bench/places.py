# SPDX-License-Identifier: Apache-2.0
"""URIs to the files that they mean on this machine, which is how readers open them.

A reader takes paths.  So a URI that stands for a local file can be measured: file://, 3fs://, or a plain
path.  It is a file, or what `weir.open` makes a model of: a directory, an index, each file of which counts.
"""
import dataclasses
import os
import re
import urllib.parse
from collections.abc import Sequence

import weir
from weir import _ring

SCHEMES = ("file", "3fs")


class Refused(ValueError):
    """It cannot be measured, and why."""


@dataclasses.dataclass(frozen=True)
class Places:
    """What some URIs mean together."""

    mount_point: str  # of 3FS, where the files lie on one; else the directory that holds all
    files: tuple[str, ...]


def split(uri: str) -> tuple[str, str]:
    """The scheme, "" for a plain path, and the path."""
    match = re.match(r"([0-9A-Za-z][0-9A-Za-z+.-]*)://", uri)
    if not match:
        return "", os.path.abspath(uri)
    scheme, rest = match[1].lower(), uri[match.end():]
    if scheme not in SCHEMES:
        raise Refused(f"{uri}: readers open files of this machine by their paths, and {scheme}:// names none; file:// and "
                      "3fs:// do, and `weir bench load` measures what weir itself can open")
    rest = rest.removeprefix("localhost") if rest.startswith("localhost/") else rest
    if not rest.startswith("/"):
        raise Refused(f"{uri}: names a file of another machine: {scheme}:///PATH is one of this")
    if re.search(r"%(?![0-9A-Fa-f]{2})|%00", rest):
        raise Refused(f"{uri}: a '%' that means no byte")
    return scheme, os.fsdecode(urllib.parse.unquote_to_bytes(rest.encode(errors="surrogateescape")))


def files_of(uri: str, path: str) -> list[str]:
    """The file, or those of the model."""
    if os.path.isfile(path) and not path.endswith(".json"):
        return [path]
    try:
        with weir.open(uri) as model:
            return [split(shard.uri)[1] for shard in model.shards]
    except weir.Error as error:
        raise Refused(str(error)) from error


def mount_of(scheme: str, path: str) -> str:
    """The mount of 3FS that a file lies on; "" for none, which 3fs:// does not allow."""
    mount = _ring.extract_mount_point(os.path.realpath(path)) or ""
    if scheme == "3fs" and not mount:
        raise Refused(f"{path} is on no mount of 3FS, which 3fs:// demands; file:// does not")
    return mount


def find(uris: Sequence[str]) -> Places:
    """The files, each once, in the order given.  They lie on one mount, for a reader knows one."""
    mounts: dict[str, str] = {}  # of each file
    for uri in uris:
        scheme, path = split(uri)
        for file in files_of(uri, path):
            mounts[file] = mount_of(scheme, file)
    different = sorted(set(mounts.values()))
    if len(different) > 1:
        named = ", ".join(mount or "no mount at all" for mount in different)
        raise Refused(f"a reader reads from one mount, and these files lie on {named}: measure them one after the other")
    return Places(different[0] or os.path.commonpath([os.path.dirname(file) for file in mounts]), tuple(mounts))
