# SPDX-License-Identifier: Apache-2.0
"""What weir raises.

Every failure that the library reports is a `weir.Error`, and also what callers of other loaders catch:
an `OSError` (with `errno` and `filename`) and a `RuntimeError`; the content of files and arguments make
a `ValueError` besides.  Where errno has a class of its own in Python, so has the failure: no such object
is a `FileNotFoundError`, no right to it a `PermissionError`, a deadline a `TimeoutError`.

Attributes of all:

    code       the class of the failure as the manual spells it: "H_DUP", "TIMEOUT", ...
    object     URI or path of what it is about, or ""
    offset     where in it, in bytes, or None
    length     how much was asked for there, or 0
    request_id what a server calls the request, or ""
"""

from __future__ import annotations

import errno as _errno
from typing import Any


class Error(OSError, RuntimeError):
    """A failure; see the module for its attributes."""

    code = "IO"
    object = ""
    offset: int | None = None
    length = 0
    request_id = ""
    message = ""

    def __init__(
        self,
        message: str = "",
        *,
        code: str = "",
        object: str = "",
        offset: int | None = None,
        length: int = 0,
        errno: int | None = None,
        request_id: str = "",
    ) -> None:
        code = code or type(self).code
        number = errno or _ERRNO.get(code)
        if object:
            super().__init__(number, message, object)
        else:
            super().__init__(number, message)
        self.message, self.code, self.object, self.offset = message, code, object, offset
        self.length, self.request_id = length, request_id

    def __str__(self) -> str:
        return self.message

    def fresh(self) -> Error:
        """The same failure as a new exception, which has not seen anything yet.

        To raise the exception of a completion itself would tie the completion, and what it holds, to the
        frames that the exception passes.
        """
        make, arguments = self.__reduce__()
        error: Error = make(*arguments)
        return error

    def __reduce__(self) -> tuple[Any, ...]:
        place = (self.object, self.offset, self.length, self.errno or 0, self.request_id)
        return from_native, (self.code, self.message, *place)


class ArgumentError(Error, ValueError):
    """Misuse by the caller."""

    code = "ARG"


class ContentError(Error, ValueError):
    """A file holds what it must not."""

    code = "INTEGRITY"


class NotFound(Error, FileNotFoundError):
    """No such object."""

    code = "NOTFOUND"


class Denied(Error, PermissionError):
    """No right to it."""

    code = "DENIED"


class Timeout(Error, TimeoutError):
    """A deadline passed, or nothing moved for the transfer's limit."""

    code = "TIMEOUT"


class Cancelled(Error):
    """The caller asked."""

    code = "CANCELLED"


class Closed(Error, ValueError):
    """The handle is closed, or belongs to the parent of this process."""

    code = "CLOSED"


class NoMemory(Error, MemoryError):
    """There is no memory for it."""

    code = "NOMEM"


class Unsupported(Error, NotImplementedError):
    """Not possible here."""

    code = "UNSUPPORTED"


class Lent(Error):
    """Memory may still be written: not a failure, and only of `finish`."""

    code = "LENT"


_ERRNO = {
    "ARG": _errno.EINVAL,
    "NOMEM": _errno.ENOMEM,
    "IO": _errno.EIO,
    "NOSPACE": _errno.ENOSPC,
    "NOTFOUND": _errno.ENOENT,
    "DENIED": _errno.EACCES,
    "TIMEOUT": _errno.ETIMEDOUT,
    "CANCELLED": _errno.ECANCELED,
    "CLOSED": _errno.EBADF,
    "UNSUPPORTED": _errno.ENOTSUP,
}

_CLASSES: dict[str, type[Error]] = {
    kind.code: kind
    for kind in (
        ArgumentError,
        NotFound,
        Denied,
        Timeout,
        Cancelled,
        Closed,
        NoMemory,
        Unsupported,
        Lent,
    )
}
_CONTENT = ("INTEGRITY", "TRUNCATED")


def from_native(
    code: str,
    message: str,
    object: str = "",
    offset: int | None = None,
    length: int = 0,
    errno: int = 0,
    request_id: str = "",
) -> Error:
    """The exception for a failure of the library."""
    kind = _CLASSES.get(code, Error)
    if code in _CONTENT or code.startswith(("H_", "G_")):
        kind = ContentError
    return kind(
        message,
        code=code,
        object=object,
        offset=offset,
        length=length,
        errno=errno,
        request_id=request_id,
    )
