# SPDX-License-Identifier: Apache-2.0
"""`safe_open`: safetensors' handle, on weir.

    with weir.safe_open("model.safetensors", framework="pt", device="cuda:0") as file:
        names = file.keys()
        whole = file.get_tensor("embedding")
        part = file.get_slice("embedding")[1024:2048]    # reads those rows and nothing else

Methods, answers and refusals are those of safetensors 0.9; docs/python.md lists where this one does
more.  A handle may be used by any number of threads.  Tensors own their memory: closing the handle
does not touch them.

Failures are `weir.Error`.  Where safetensors raises its SafetensorError, so does weir: in a program
that has imported safetensors the exception is of that class, too.
"""

from __future__ import annotations

import functools
import operator
import os
import sys
from collections.abc import Mapping
from errno import EISDIR
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from weir import _native, slicing
from weir.errors import ArgumentError, Closed, ContentError, Error, Unsupported
from weir.frameworks import dtypes
from weir.plan import Plan

if TYPE_CHECKING:
    from weir.prefetch import Loader

_FRAMEWORKS = {
    "pt": "torch",
    "torch": "torch",
    "pytorch": "torch",
    "np": "numpy",
    "numpy": "numpy",
    "jax": "jax",
    "flax": "jax",
    "cupy": "cupy",
}
_FOREIGN = ("tf", "tensorflow", "mlx", "paddle")
_BACKENDS = ("mmap", "pread")
_DEVICES = ("cpu", "mps", "cuda", "npu", "xpu", "xla", "mlu", "musa", "hpu")


# ---- Failures ----


@functools.cache
def _joined(kinds: tuple[type[Error], type[Exception]]) -> type[Error]:
    """One class that is both."""
    like = kinds[0]
    return type(like.__name__, kinds, {"__doc__": like.__doc__, "__module__": like.__module__})


def as_safetensors(error: Exception) -> Exception:
    """The same failure, which `except safetensors.SafetensorError` catches as well."""
    other = getattr(sys.modules.get("safetensors"), "SafetensorError", None)
    if other is None or isinstance(error, other) or not isinstance(error, Error):
        return error
    return _joined((type(error), other))(
        error.message,
        code=error.code,
        object=error.object,
        offset=error.offset,
        length=error.length,
        errno=error.errno,
        request_id=error.request_id,
    )


def refuse(message: str) -> NoReturn:
    """What safetensors would not do either."""
    raise as_safetensors(ArgumentError(message))


# ---- Arguments ----


def _str(value: object) -> str:
    if isinstance(value, str):
        return value
    what = "'None'" if value is None else f"{type(value).__name__!r} object"
    raise TypeError(f"{what} is not an instance of 'str'")


def _framework(name: str) -> str:
    if name in _FOREIGN:
        refuse(f"framework {name}: weir makes no arrays of it; ask for numpy and convert")
    if name not in _FRAMEWORKS:
        refuse(f"framework {name} is invalid")
    return _FRAMEWORKS[name]


def _number(text: str) -> int:
    if not text:
        raise ValueError("cannot parse integer from empty string")
    if not text.isascii() or not text.isdigit():
        raise ValueError("invalid digit found in string")
    return int(text)


def device_of(device: object) -> str:
    """A device in one spelling; safetensors knows ``"cuda"``, ``"cuda:1"``, 1, None (the CPU)."""
    if device is None:
        return "cpu"
    if isinstance(device, int) and device >= 0:
        return f"cuda:{int(device)}"
    kind, colon, number = device.partition(":") if isinstance(device, str) else ("", "", "")
    if kind not in _DEVICES or (kind == "cpu" and colon):
        refuse(f"device {device} is invalid")
    if kind in ("cpu", "mps"):
        return kind
    return f"{kind}:{_number(number) if colon else 0}"


def _fitting(framework: str, device: str) -> None:
    """NumPy has no other memory than the host's, CuPy no memory there."""
    if (framework == "numpy" and device != "cpu") or (framework == "cupy" and device == "cpu"):
        refuse(f"Device {device} is not supported for framework {framework}")


# ---- Reading ----


class File:
    """An open file and where its tensors go; shared by a handle and what came out of it.

    The device is looked for at the first read, as safetensors does: a handle can be had without it.
    """

    def __init__(self, path: str, framework: str, device: str) -> None:
        self.model = _open(path)
        self.framework = framework
        self.device = device

    def info(self, name: object) -> _native.TensorInfo:
        info = self.model.tensors.get(_str(name))
        if info is None:
            refuse(f"File does not contain tensor {name}")
        return info

    def by_offset(self) -> list[str]:
        """All names, in the order of their bytes."""
        infos = self.model.tensors
        return sorted(infos, key=lambda name: (infos[name].offset, infos[name].nbytes))

    def plan(self, boxes: Mapping[str, slicing.Box], device: str) -> Plan:
        """A plan of those parts of those tensors."""
        plan = Plan(self.framework, device, context=self.model.context)
        for name, box in boxes.items():
            cuts = list(slicing.dims_of(box, self.info(name).shape))
            plan.tensor(self.model, name, slices=cuts or None)
        return plan

    def read(self, boxes: Mapping[str, slicing.Box]) -> dict[str, Any]:
        """Those parts, in one transfer."""
        try:
            return self.plan(boxes, self.device).run()
        except (ContentError, Unsupported) as error:
            raise as_safetensors(error) from None


def _open(path: str) -> _native.Model:
    if os.path.isdir(path):
        raise IsADirectoryError(EISDIR, "weir.open() reads directories of files", path)
    try:
        model = _native.open(path, lenient=True)
    except ContentError as error:
        raise as_safetensors(error) from None
    if model.format == "safetensors":
        return model
    model.close()
    refuse(f"{path} is no safetensors file: weir.open() reads it")


# ---- What handles give ----


class TensorMeta(NamedTuple):
    """A tensor's header entry; no data is read for it."""

    dtype: str
    """As the file spells it: ``"F32"``."""
    shape: list[int]
    data_offsets: tuple[int, int]
    """``(start, end)`` within the data section."""


class Slice:
    """One tensor, nothing of which is read before it is indexed: what `get_slice` answers."""

    def __init__(self, file: File, name: str) -> None:
        self._file = file
        self._name = name
        self._info = file.info(name)

    def get_shape(self) -> list[int]:
        return list(self._info.shape)

    def get_dtype(self) -> str:
        return self._info.dtype

    def __getitem__(self, index: Any) -> Any:
        """Reads what the index asks for, and that only.

        With PyTorch an index means what it means to PyTorch.  Otherwise it is made of integers,
        slices with a positive step, and one ellipsis, and lies inside the tensor.
        """
        cut = self._cut(index)
        array = self._file.read({self._name: cut.box})[self._name]
        if cut.after is None:
            return array.reshape(cut.shape)
        picked = array[cut.after]
        return picked.contiguous() if self._file.framework == "torch" else picked.copy()

    def _cut(self, index: Any) -> slicing.Cut:
        bits = dtypes.find(self._info.dtype).bits
        if bits % 8:
            return self._whole_bytes(slicing.strict(index, self._info.shape, refuse), bits)
        if self._file.framework != "torch":
            return slicing.strict(index, self._info.shape, refuse)
        return slicing.lenient(index, self._info.shape) or self._left_to_torch(index)

    def _left_to_torch(self, index: Any) -> slicing.Cut:
        """PyTorch will index the whole tensor; what it refuses, it refuses before that is read."""
        import torch

        torch.empty((), dtype=torch.uint8).expand(self._info.shape)[index]
        return slicing.Cut(slicing.whole(self._info.shape), index, None)

    def _whole_bytes(self, cut: slicing.Cut, bits: int) -> slicing.Cut:
        """Elements of less than a byte come packed: whole bytes of each row, or nothing."""
        bounds = cut.box[-1]
        if any(bound * bits % 8 for bound in bounds) or (cut.after and cut.after[-1].step != 1):
            refuse(
                f"Error during slicing {self._name} with shape {self.get_shape()}: The slice is "
                "slicing for subbytes dtypes, and the slice does not end up at a byte boundary, "
                "this is invalid."
            )
        return cut._replace(shape=cut.shape and dtypes.packed_shape(cut.shape, bits))


class safe_open:
    """A handle on one safetensors file.

    filename    a path or a URI
    framework   "pt", "torch", "pytorch"; "np", "numpy"; "jax", "flax"; "cupy"
    device      "cpu", "cuda" (the first one), "cuda:1" or 1, ...: what safetensors takes
    backend     "mmap" or "pread", as safetensors has it; weir always reads, and maps nothing
    """

    def __init__(
        self,
        filename: str | os.PathLike[str],
        framework: str,
        device: str | int | None = "cpu",
        *,
        backend: str = "mmap",
    ) -> None:
        path = _str(os.fspath(filename))
        library = _framework(_str(framework))
        place = device_of(device)
        if _str(backend) not in _BACKENDS:
            refuse(f'backend "{backend}" is invalid (expected one of: "mmap", "pread")')
        _fitting(library, place)
        self._file: File | None = File(path, library, place)

    @property
    def _open_file(self) -> File:
        if self._file is None:
            raise as_safetensors(Closed("File is closed"))
        return self._file

    def __enter__(self) -> safe_open:
        return self

    def __exit__(self, *_: object) -> None:
        self._file = None

    def keys(self) -> list[str]:
        """The names of the tensors, sorted."""
        return sorted(self._open_file.model.tensors)

    def offset_keys(self) -> list[str]:
        """The names of the tensors in the order of their bytes."""
        return self._open_file.by_offset()

    def metadata(self) -> dict[str, str] | None:
        """What the file says of itself; None where it has no `__metadata__`."""
        shard = self._open_file.model.shards[0]
        return shard.metadata if shard.has_metadata else None

    def get_tensor(self, name: str) -> Any:
        """One tensor, whole."""
        file = self._open_file
        return file.read({name: slicing.whole(file.info(name).shape)})[name]

    def get_tensors(self) -> dict[str, Any]:
        """All tensors, in one transfer."""
        file = self._open_file
        return file.read({name: slicing.whole(file.info(name).shape) for name in file.by_offset()})

    def get_tensor_meta(self, name: str) -> TensorMeta:
        """A tensor's header entry."""
        file = self._open_file
        info = file.info(name)
        start = info.offset - file.model.shards[0].header
        return TensorMeta(info.dtype, list(info.shape), (start, start + info.nbytes))

    def get_slice(self, name: str) -> Slice:
        """A tensor to be indexed: ``file.get_slice("embedding")[:, 8:16]``."""
        return Slice(self._open_file, name)

    def prefetch(
        self,
        plan: dict[str, slice | None] | None = None,
        *,
        device: str | int | None = None,
        threads: int = 8,
    ) -> Loader:
        """Starts to load tensors in the background; see `weir.prefetch.Loader`.

        plan        name to None (whole) or a slice of rows, with step 1; None: everything whole
        device      where to; None: as the handle has it
        threads     a positive number, for safetensors' sake.  weir's context has its own, which all
                    its transfers share: no loader has some for itself
        """
        from weir.prefetch import Loader, boxes_of

        file = self._open_file
        place = file.device if device is None else device_of(device)
        _fitting(file.framework, place)
        if operator.index(threads) < 1:
            refuse("prefetch needs at least one thread")
        return Loader(file.plan(boxes_of(file, plan), place))
