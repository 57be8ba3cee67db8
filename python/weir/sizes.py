# SPDX-License-Identifier: Apache-2.0
"""Numbers of bytes as people write them."""

from __future__ import annotations

import re

from weir.errors import ArgumentError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?\s*", re.IGNORECASE)


def parse(size: int | str | None) -> int:
    """Bytes: a number, or a text such as "2GiB" or "500 MB"; None is 0, the default."""
    if size is None:
        return 0
    if isinstance(size, int) and size >= 0:
        return size
    match = _SIZE.fullmatch(size) if isinstance(size, str) else None
    unit = match[2].upper() if match else "?"
    factor = {**_UNITS, **_BINARY}.get(unit)
    if not match or factor is None:
        raise ArgumentError(f'{size!r} is no number of bytes; write 2147483648 or "2GiB"')
    return int(float(match[1]) * factor)
