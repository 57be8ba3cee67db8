# SPDX-License-Identifier: Apache-2.0
"""compare.py VERDICT-PROGRAM SCRATCH [COUNT [SEED]]: asks both sides and compares.

Demands of every file: strict is never looser than the reference; where it is stricter, the reason is on
the written list; lenient takes and refuses exactly what the reference does, with the class of error
that corresponds, and finds the same tensors.
"""
import os
import random
import re
import struct
import subprocess
import sys
import zlib

import safetensors

import generate

# What the reference says -> the classes of ours that correspond.
JSON = {"H_JSON", "H_DUP", "H_SCHEMA", "H_DTYPE", "H_SHAPE"}
CLASSES = [
    ("header too small", {"H_SHORT"}),
    ("header too large", {"H_LIMIT"}),
    ("invalid header length", {"H_LEN"}),
    ("invalid UTF-8 in header", {"H_UTF8"}),
    ("invalid JSON in header", JSON | {"H_OFFSET"}),    # a negative offset is no number to it
    ("invalid offset for tensor", {"H_OFFSET"}),
    ("overflow computing buffer size", {"H_OVERFLOW"}),
    ("the slice does not end up at a byte boundary", {"H_SUBBYTE"}),
    ("invalid shape, data type, or offset", {"H_SIZE"}),
    ("incomplete metadata", {"H_COVER"}),
]
# Which of several tensors in one place it looks at first is up to its hash table.
PER_TENSOR = {"H_OFFSET", "H_OVERFLOW", "H_SUBBYTE", "H_SIZE"}

# Why strict may refuse what the reference takes: class and words of the message.
REASONS = [
    ("H_DUP", r"(tensor|metadata key) '.*' stands twice"),
    ("H_SCHEMA", r"unknown member"),
    ("H_SCHEMA", r"its entry is not an object"),
    ("H_SCHEMA", r"__metadata__ is not an object"),
    ("H_DTYPE", r"dtype is not a string"),
    ("H_NAME", r"a NUL character in the name"),
    ("H_OVERFLOW", r"overflows 64 bits"),
    ("H_JSON", r"nested deeper than 32 levels"),
    ("LIMIT", r"more than 64 dimensions|a name of \d+ bytes"),
]


def crc_view(value, crc=0):
    return zlib.crc32(value.encode() + b"\0", crc)


def digest(file):
    """As verdict.c computes it."""
    keys = file.keys()
    pairs = file.metadata()
    total = order = 0
    sizes = {}
    for key in keys:
        part = file.get_slice(key)
        shape = part.get_shape()
        size = generate.BITS[part.get_dtype()]
        for dim in shape:
            size *= dim
        sizes[key] = size
        crc = crc_view(part.get_dtype(), crc_view(key))
        total += zlib.crc32("".join(f"{dim}," for dim in shape).encode(), crc)
    for key in file.offset_keys():
        if sizes[key]:
            order = crc_view(key, order)
    for key, value in (pairs or {}).items():
        total += crc_view(value, crc_view(key, 1))
    return f"{len(keys)}:{len(pairs or {})}:{int(pairs is not None)}:{total & 0xffffffff:08x}:{order:08x}"


def reference(path):
    """("OK", digest) or (what it says, "")."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            return "OK", digest(file)
    except safetensors.SafetensorError as error:
        return str(error), ""


def same_class(said, ours):
    for words, classes in CLASSES:
        if words in said:
            return ours in classes or (ours in PER_TENSOR and classes & PER_TENSOR)
    return False


def exact_class(said, ours):
    return any(words in said and ours in classes for words, classes in CLASSES)


def fault(said, found, strict, lenient, ours, message):
    """What is wrong with our verdicts, or None."""
    accepted = said == "OK"
    if strict == "OK" and not accepted:
        return "strict is looser"
    if strict != "OK" and accepted and not any(
            strict == code and re.search(words, message) for code, words in REASONS):
        return "strict is stricter for no written reason"
    if (lenient == "OK") != accepted:
        return "lenient takes what the reference refuses" if lenient == "OK" else "lenient refuses"
    if accepted and found != ours:
        return f"lenient found {ours}, the reference {found}"
    if not accepted and not same_class(said, lenient):
        return "lenient gives another class"
    return None


def write(path, header, prefix, data_bytes):
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header) if prefix is None else prefix) + header)
        file.truncate(8 + len(header) + data_bytes)


def main():
    program, scratch = sys.argv[1:3]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 20000
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else 1
    rng = random.Random(seed)
    cases = []
    for number, (label, header, prefix, data_bytes) in enumerate(generate.cases(rng, count)):
        path = os.path.join(scratch, f"{number:06}-{label}.safetensors")
        write(path, header, prefix, data_bytes)
        cases.append(path)
    ours = subprocess.run([program], input="\n".join(cases) + "\n", text=True, capture_output=True,
                          check=True, encoding="utf-8").stdout.split("\n")[:-1]
    assert len(ours) == len(cases), "our side lost some"
    failed = taken = stricter = loose_class = 0
    for path, line in zip(cases, ours):
        strict, lenient, found, message = line.split("\t")
        said, digest_there = reference(path)
        problem = fault(said, digest_there, strict, lenient, found, message)
        taken += said == "OK"
        stricter += said == "OK" and strict != "OK"
        loose_class += said != "OK" and not exact_class(said, lenient)
        if problem:
            failed += 1
            print(f"FAIL {path}: {problem}\n     reference: {said}\n     ours: {strict}, {lenient}: {message}")
        else:
            os.unlink(path)
    print(f"seed {seed}: {len(cases)} files, {taken} taken by safetensors {safetensors.__version__}, "
          f"{stricter} of them refused by strict for written reasons, {loose_class} with another class of "
          "the same kind")
    print(f"{len(cases) - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


sys.exit(main())
