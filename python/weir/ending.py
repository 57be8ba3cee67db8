# SPDX-License-Identifier: Apache-2.0
"""Who calls weir when the interpreter ends: `atexit`, and in a child of multiprocessing its own list.

Such a child leaves by `os._exit`, and older Pythons run nothing of `atexit` there.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable


def register(end: Callable[[], None]) -> None:
    """`end` is called once or twice."""
    atexit.unregister(end)  # a forked child inherits its parent's
    atexit.register(end)
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, end, exitpriority=-100)
