# SPDX-License-Identifier: Apache-2.0
"""The table of types in docs/python.md, as tests read it.

A cell says what an array's type is, and under which message it is refused where that can be:

    `float32`                      works, as that type
    `uint8`, packed                works; the last dimension counts bytes
    `ml_dtypes.bfloat16` or [A]    works, or is refused with message A
    [C]                            is refused with message C
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"


class Cell(NamedTuple):
    kind: str | None  # the array's type; None: never works
    packed: bool
    message: str | None  # with {dtype}, {name}, ... to be filled in; None: never refused


def _rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def _messages(text: str) -> dict[str, str]:
    return dict(re.findall(r"^- \[([A-Z])\] `([^`]+)`", text, re.MULTILINE))


def _cell(text: str, messages: dict[str, str]) -> Cell:
    match = re.fullmatch(r"(?:`([\w.]+)`(, packed)?)?(?: or )?(?:\[([A-Z])\])?", text)
    assert match and text, f"not a cell: {text!r}"
    kind, packed, letter = match.groups()
    return Cell(kind, packed is not None, messages[letter] if letter else None)


def read() -> dict[str, dict[str, Cell]]:
    """The table: type, then package, then cell."""
    text = PAGE.read_text()
    section = text[text.index("\n## Types") :]
    messages = _messages(section)
    rows = [row for row in _rows(section) if len(row) == 5]
    packages = rows[0][1:]
    return {
        row[0].strip("`"): {
            package: _cell(cell, messages) for package, cell in zip(packages, row[1:], strict=True)
        }
        for row in rows[1:]
    }


def message(letter: str) -> str:
    """One of the messages below the table, to be filled in."""
    return _messages(PAGE.read_text())[letter]
