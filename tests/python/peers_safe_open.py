# SPDX-License-Identifier: Apache-2.0
"""safe_open beside that of safetensors: the same tensors bit for bit, the same refusals."""

import json
import random
import struct

import files
import jax
import numpy as np
import pytest
import safetensors
import torch

import weir
from weir import safe_open

pytestmark = pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")

SHAPES = [
    (),
    (1,),
    (5,),
    (0,),
    (3, 4),
    (4, 0),
    (2, 3, 4),
    (1, 1),
    (2, 0, 3),
    (7, 2, 1),
    (2, 2, 2, 2),
]
NUMPY = ["BOOL", "U8", "I8", "I16", "U16", "F16", "I32", "U32", "F32", "C64", "F64", "I64", "U64"]
PYTORCH = NUMPY + ["BF16"] + [dtype for dtype in files.BITS if dtype.startswith("F8")]
WIDE = ("F64", "I64", "U64")  # JAX has them by an option only
DTYPES = {"np": NUMPY, "pt": PYTORCH, "jax": [d for d in NUMPY + ["BF16"] if d not in WIDE]}


def write(path, rng, dtypes):
    """Every shape of every type, in some order, somewhere not aligned."""
    tensors = {f"{d}{list(s)}": (d, s) for d in dtypes for s in SHAPES}
    names = list(tensors)
    rng.shuffle(names)
    shuffled = {name: tensors[name] for name in names}
    shuffled = {
        name: (d, s, bool_bytes(rng, s) if d == "BOOL" else rng.randbytes(files.nbytes(d, s)))
        for name, (d, s) in shuffled.items()
    }
    files.write(path, shuffled, {"k": "v"})
    return shuffled


def bool_bytes(rng, shape):
    return bytes(rng.getrandbits(1) for _ in range(files.nbytes("BOOL", shape)))


def bits(array):
    """Type, shape and bytes."""
    if isinstance(array, torch.Tensor):
        packed = torch.empty(array.numel(), dtype=array.dtype).copy_(array.reshape(-1))
        return str(array.dtype), tuple(array.shape), packed.view(torch.uint8).numpy().tobytes()
    host = np.asarray(array)
    return str(array.dtype), host.shape, host.tobytes()


def outcome(call):
    """What comes out, or the class and the words of the failure."""
    try:
        return bits(call())
    except Exception as error:  # noqa: BLE001 - compared
        kind = safetensors.SafetensorError
        return (kind if isinstance(error, kind) else type(error)), str(error)


def number(rng, size):
    edges = [0, 1, -1, size, size - 1, -size, -size - 1, size + 1]
    return rng.choice([*edges, rng.randint(-9, 9), rng.randint(0, max(size, 1))])


def item(rng, size):
    kind = rng.random()
    if kind < 0.35:
        return number(rng, size)
    if kind < 0.8:
        step = rng.choice([1, 2, 3, -1, 0]) if rng.random() < 0.2 else None
        start, stop = (rng.choice([None, number(rng, size)]) for _ in range(2))
        return slice(start, rng.choice([stop, size]), step)
    if kind < 0.9:
        return ...
    odd = [None, [0], [], True, "x", 1.5, np.int64(number(rng, size)), np.array(0), slice(1.0, 2)]
    return rng.choice(odd)


def index_of(rng, shape):
    if rng.random() < 0.3:
        return item(rng, shape[0] if shape else 1)
    rank = len(shape) + rng.choice([0, 0, 0, 1])
    return tuple(item(rng, (*shape, 2)[at]) for at in range(rng.randint(0, rank)))


def undefined(index, framework):
    """Reversed slices make safetensors panic; on two ellipses PyTorch reads past its sizes."""
    items = index if isinstance(index, tuple) else (index,)
    if framework == "pt":
        return sum(i is ... for i in items) > 1
    return any(
        isinstance(i, slice) and isinstance(i.stop, int) and (i.start or 0) > i.stop for i in items
    )


@pytest.mark.parametrize("metadata", ["{}", "null", '{"a": "b"}', None])
def test_metadata_is_the_same(tmp_path, metadata):
    header = b"{}" if metadata is None else b'{"__metadata__": %s}' % metadata.encode()
    header += b" " * (-len(header) % 8)
    (tmp_path / "m").write_bytes(struct.pack("<Q", len(header)) + header)
    ours, theirs = safe_open(tmp_path / "m", "np"), safetensors.safe_open(tmp_path / "m", "np")
    assert ours.metadata() == theirs.metadata()


@pytest.mark.parametrize("framework", DTYPES)
def test_whole_tensors_are_the_same(tmp_path, framework):
    rng = random.Random(5)
    for number_ in range(3):
        path = tmp_path / f"{number_}.safetensors"
        tensors = write(path, rng, DTYPES[framework])
        ours, theirs = safe_open(path, framework), safetensors.safe_open(path, framework)
        assert ours.keys() == theirs.keys()
        assert ours.metadata() == theirs.metadata() == {"k": "v"}
        together, reference = ours.get_tensors(), theirs.get_tensors()
        for mine, other in [(ours.offset_keys(), theirs.offset_keys()), (together, reference)]:
            # Theirs has those without bytes in any order among themselves.
            assert set(mine) == set(other)
            filled = [[n for n in names if 0 not in tensors[n][1]] for names in (mine, other)]
            assert filled[0] == filled[1]
        for name in tensors:
            assert bits(together[name]) == bits(reference[name])
            assert bits(ours.get_tensor(name)) == bits(theirs.get_tensor(name))
            assert ours.get_slice(name).get_shape() == theirs.get_slice(name).get_shape()
            assert ours.get_slice(name).get_dtype() == theirs.get_slice(name).get_dtype()


@pytest.mark.parametrize(("framework", "cases"), [("np", 5000), ("pt", 5000), ("jax", 500)])
def test_slices_are_the_same_or_refused_alike(tmp_path, framework, cases):
    rng = random.Random(17)
    path = tmp_path / "m.safetensors"
    tensors = write(path, rng, DTYPES[framework])
    ours, theirs = safe_open(path, framework), safetensors.safe_open(path, framework)
    names, agreed = list(tensors), {True: 0, False: 0}
    for _ in range(cases):
        name = rng.choice(names)
        index = index_of(rng, tensors[name][1])
        if undefined(index, framework):
            continue
        want = outcome(lambda: theirs.get_slice(name)[index])
        got = outcome(lambda: ours.get_slice(name)[index])
        assert got == want, (name, index)
        agreed[len(want) == 3] += 1
    assert min(agreed.values()) > cases // 8, agreed


@pytest.mark.parametrize("index", [9, -9, (0, 0, 0), "x", slice(None, None, -1), [9]])
def test_what_torch_refuses_is_not_read(tmp_path, index):
    files.write(tmp_path / "m", {"a": ("F32", (4, 5))})
    part = safe_open(tmp_path / "m", "pt").get_slice("a")
    before = weir.default_context().counters()["extents"]
    with pytest.raises((IndexError, TypeError, ValueError)):
        part[index]
    assert weir.default_context().counters()["extents"] == before


def test_F4_in_pairs_is_the_same(tmp_path):
    path = tmp_path / "m.safetensors"
    files.write(
        path, {"a": ("F4", (4, 8)), "b": ("F4", (6,)), "odd": ("F4", (2, 3)), "e": ("F4", (2, 0))}
    )
    ours, theirs = safe_open(path, "pt"), safetensors.safe_open(path, "pt")
    for name in ("a", "b", "e"):
        assert bits(ours.get_tensor(name)) == bits(theirs.get_tensor(name))
    for file in (ours, theirs):
        with pytest.raises(safetensors.SafetensorError):
            file.get_tensor("odd")


# ---- Refusals ----


def raw(path, header, data=b"", length=None):
    text = header if isinstance(header, bytes) else header.encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)


def entry(dtype="F32", shape=(2,), offsets=(0, 8), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


BAD_FILES = {
    "empty": b"",
    "short": b"abc",
    "length": ("{}", b"", 99),
    "json": ("{x}", b""),
    "utf8": (b'{"\xff": 1}', b""),
    "list": ("[]", b""),
    "cut": (json.dumps({"a": entry()}), b"1234"),
    "longer": (json.dumps({"a": entry()}), b"123456789"),
    "dtype": (json.dumps({"a": entry(dtype="F99")}), b"12345678"),
    "hole": (json.dumps({"a": entry(offsets=(4, 12))}), b"123456789012"),
    "size": (json.dumps({"a": entry(shape=(3,))}), b"12345678"),
    "order": (json.dumps({"a": entry(offsets=(8, 0))}), b"12345678"),
    "metadata": (json.dumps({"__metadata__": {"a": 1}}), b""),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_files_are_refused_as_by_safetensors(tmp_path, kind):
    path = tmp_path / "m.safetensors"
    if isinstance(BAD_FILES[kind], bytes):
        path.write_bytes(BAD_FILES[kind])
    else:
        raw(path, *BAD_FILES[kind])
    for opener in (safe_open, safetensors.safe_open):
        with pytest.raises(safetensors.SafetensorError):
            opener(path, "np")
    with pytest.raises(weir.ContentError):
        safe_open(path, "np")


def test_odd_files_are_taken_as_by_safetensors(tmp_path):
    path = tmp_path / "m.safetensors"
    for header, data in [
        ("{}", b""),
        (' {"a":' + json.dumps(entry()) + "}  ", b"12345678"),
        (json.dumps({"a": entry(extra=1)}), b"12345678"),
        (json.dumps({"": entry()}), b"12345678"),
        (json.dumps({"a": entry(shape=(0, 2**32), offsets=(0, 0))}), b""),
    ]:
        raw(path, header, data)
        ours, theirs = safe_open(path, "np"), safetensors.safe_open(path, "np")
        assert ours.keys() == theirs.keys()


ARGUMENTS = {
    "absent": lambda path, tmp_path: (tmp_path / "absent", "np"),
    "directory": lambda path, tmp_path: (tmp_path, "np"),
    "bytes": lambda path, tmp_path: (str(path).encode(), "np"),
    "int": lambda path, tmp_path: (3, "np"),
    "none": lambda path, tmp_path: (None, "np"),
    "framework": lambda path, tmp_path: (path, "bogus"),
    "framework none": lambda path, tmp_path: (path, None),
    "framework case": lambda path, tmp_path: (path, "NUMPY"),
    **{
        f"device {device!r}": lambda path, tmp_path, device=device: (path, "np", device)
        for device in ["cuda", "cuda:1", "cuda:", "cuda:x", "cuda:-1", 0, -1, "0", "mps", "mps:0",
                       "npu", "bogus", "cpu:0", "CPU", "meta", 1.0, True, "xpu:3"]
    },
}  # fmt: skip


def base_of(error):
    for kind in (safetensors.SafetensorError, FileNotFoundError, TypeError, OverflowError):
        if isinstance(error, kind):
            return kind
    return OSError if isinstance(error, OSError) else ValueError


@pytest.mark.parametrize("kind", ARGUMENTS)
def test_bad_arguments_are_refused_as_by_safetensors(tmp_path, kind):
    path = tmp_path / "m.safetensors"
    files.write(path, {"a": ("F32", (2,))})
    arguments = ARGUMENTS[kind](path, tmp_path)
    with pytest.raises(Exception) as theirs:
        safetensors.safe_open(*arguments)
    with pytest.raises(Exception) as ours:
        safe_open(*arguments)
    assert base_of(ours.value) is base_of(theirs.value)


@pytest.mark.parametrize("device", ["cuda", "cuda:7", 0, "mps", "xpu", None, "cpu"])
def test_devices_are_looked_at_when_something_is_read(tmp_path, device):
    path = tmp_path / "m.safetensors"
    files.write(path, {"a": ("F32", (2,))})
    ours, theirs = safe_open(path, "pt", device), safetensors.safe_open(path, "pt", device)
    got, want = outcome(lambda: ours.get_tensor("a")), outcome(lambda: theirs.get_tensor("a"))
    assert len(got) == len(want)
    if len(got) == 2 and str(device) != "xpu":
        with pytest.raises(RuntimeError):
            ours.get_tensor("a")


def test_the_closed_handle_and_missing_names(tmp_path):
    path = tmp_path / "m.safetensors"
    files.write(path, {"a": ("F32", (2,))})
    for opener in (safe_open, safetensors.safe_open):
        with opener(path, "np") as file:
            with pytest.raises(safetensors.SafetensorError, match="does not contain tensor nope"):
                file.get_tensor("nope")
            with pytest.raises(TypeError):
                file.get_tensor(1)
        with pytest.raises(safetensors.SafetensorError, match="^File is closed$"):
            file.keys()
        assert file.__enter__() is file
        assert file.__exit__(None, None, None) is None


def test_header_entries_are_the_same(tmp_path):
    path = tmp_path / "m.safetensors"
    tensors = write(path, random.Random(3), NUMPY)
    theirs = safetensors.safe_open(path, "np")
    if not hasattr(theirs, "get_tensor_meta"):
        pytest.skip(f"safetensors {safetensors.__version__} has no get_tensor_meta")
    ours = safe_open(path, "np")
    for name in tensors:
        want, got = theirs.get_tensor_meta(name), ours.get_tensor_meta(name)
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        assert got.data_offsets == want.data_offsets


def test_surface_of_safetensors():
    assert set(dir(safetensors.safe_open)) <= set(dir(safe_open))


def test_jax_keeps_64_bits_or_refuses(tmp_path):
    path = tmp_path / "m.safetensors"
    content = files.write(path, {"a": ("I64", (4,))})
    with pytest.raises(weir.Unsupported, match="jax_enable_x64"):
        safe_open(path, "jax").get_tensor("a")
    with jax.enable_x64(True):
        got = safe_open(path, "flax").get_tensor("a")
    assert np.asarray(got).tobytes() == content["a"]
