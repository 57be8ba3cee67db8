# SPDX-License-Identifier: Apache-2.0
"""fastsafetensors on weir: the copier `weir`, and loaders that use it.

    import weir.fastsafetensors
    weir.fastsafetensors.register()

puts a copier of the name `weir` into fastsafetensors' registry, and a loader of that name among
those which AutoLoader's configuration files may ask for. register(replace_3fs=True) puts it in
place of the copier `3fs` as well, so that configurations for 3FS get byte ranges, memory budgets
and several files in flight without a change. Importing this module imports fastsafetensors and
registers nothing; importing weir does neither.

A copier reads one file, or one chunk of it, to memory that the framework allocated: submit_io()
starts a transfer and returns at once, wait_tensor() waits for the bytes of one tensor, wait_io()
for all, finish_io() ends what is still under way. The memory belongs to fastsafetensors; while a
transfer may still write to it, the transfer holds a reference to its owner.

fastsafetensors is taken as it comes, from 0.3.2 on: what its base class does not ask for yet
(owners, chunks, readiness) is simply never called."""

from __future__ import annotations

import inspect
import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fastsafetensors import SafeTensorsMetadata, SingleGroup
from fastsafetensors.copier.base import CopierInterface
from fastsafetensors.copier.registry import register_copier_constructor
from fastsafetensors.file_buffer import FilesBufferOnDevice
from fastsafetensors.frameworks import get_framework_op
from fastsafetensors.loader import BaseSafeTensorsFileLoader
from fastsafetensors.parallel_loader import PipelineParallel
from fastsafetensors.st_types import Device, DeviceType, DType

from weir.ranges import Piece, RangeRead

__all__ = ["ParallelWeirLoader", "WeirFileCopier", "WeirLoader", "register", "registered"]

COPIER_TYPE = "weir"
SWITCH = "WEIR_FASTSAFETENSORS_3FS"  # "1": register() takes the name 3fs over, too

# Host memory comes at multiples of this, and file systems read directly at no larger ones.
ALIGN = 4096

# Tensors are waited for one by one, but small neighbours share a piece of this size.
PIECE_BYTES = 1 << 20

_TAKES_OWNER = "owner" in inspect.signature(SafeTensorsMetadata.get_tensors).parameters
_COUNTS_OVERHEAD = hasattr(CopierInterface, "chunk_device_overhead")


class WeirFileCopier(CopierInterface):
    """Reads one file of a load. See the module's text for who calls what."""

    def __init__(
        self,
        metadata: Any,
        device: Device,
        framework: Any,
        *,
        direct: str = "auto",
        context: Any = None,
    ) -> None:
        self.metadata = metadata
        self.device = device
        self.framework = framework
        self.direct = direct
        self.context = context
        self._ranges: list[tuple[int, int]] | None = None  # None: all of the data section
        self._names: set[str] | None = None  # of a chunk
        self._allocation: int | None = None
        self._base = metadata.header_length  # the file offset of the buffer's first byte
        self._read: RangeRead | None = None

    # ---- What to read ----

    def set_byte_ranges(self, byte_ranges: Iterable[tuple[int, int]] | None) -> None:
        """Read these [start, end) of the file only; None: all of it."""
        self._ranges = None if byte_ranges is None else checked_ranges(self.metadata, byte_ranges)

    def set_chunk(
        self,
        byte_ranges: Iterable[tuple[int, int]],
        names: set[str],
        allocation_size: int | None = None,
    ) -> None:
        """Read these ranges, which hold the tensors `names`, to a buffer that spans just them.

        allocation_size is the buffer's size, where it is to be larger than that."""
        ranges = checked_ranges(self.metadata, byte_ranges)
        self._allocation = checked_allocation(ranges, allocation_size)
        self._ranges, self._names = ranges, set(names)

    def enable_tensor_readiness(self) -> bool:
        """True: prepare_tensors() and wait_tensor() may be used in place of wait_io()."""
        return True

    # ---- What a budget has to count ----

    @classmethod
    def chunk_transient_multiplier(cls, paths: Sequence[str]) -> int:
        """1: a chunk is read to where it stays; staging is a few MiB of host memory."""
        return 1

    @classmethod
    def chunk_device_overhead(cls, paths: Sequence[str]) -> int:
        """What stands before a chunk's first byte, so that host memory and file agree modulo a
        page."""
        return ALIGN

    @classmethod
    def fixed_device_overhead(cls, paths: Sequence[str]) -> int:
        """0: staging is host memory."""
        return 0

    # ---- Reading ----

    def submit_io(self, use_buf_register: bool, max_copy_block_size: int) -> Any:
        """Allocates the destination, starts the transfer and returns the buffer.

        How the bytes are cut into requests is weir's to choose: the block size is checked and not
        used. When this fails, the buffer has been freed."""
        if max_copy_block_size <= 0:
            raise ValueError(f"max_copy_block_size must be positive, got {max_copy_block_size}")
        if self._read is not None:
            raise RuntimeError(f"{self.metadata.src}: submit_io() was called before")
        read = RangeRead(
            self.uri(), nbytes=self.metadata.size_bytes, direct=self.direct, context=self.context
        )
        length = self._lay_out()
        buffer = self.framework.alloc_tensor_memory(length, self.device)
        try:
            read.start(self._pieces(buffer.get_base_address()), self._cuda())
        except BaseException:
            self.framework.free_tensor_memory(buffer, self.device)
            raise
        self._read = read
        return buffer

    def uri(self) -> str:
        """Where the bytes are."""
        return os.path.join(os.getcwd(), self.metadata.src)

    def prepare_tensors(self, gbuf: Any, owner: Any = None) -> dict[str, Any]:
        """The tensors, before their bytes are there: wait_tensor() each before it is looked at."""
        return self._tensors(gbuf, DType.AUTO, owner)

    def wait_tensor(self, name: str) -> None:
        """Returns when the bytes of this tensor are there; raises what kept them away."""
        begin, end = self.metadata.tensors[name].data_offsets
        if begin == end:
            return
        if self._read is None:
            raise RuntimeError(
                f"{self.metadata.src}: tensor '{name}' is waited for before submit_io()"
            )
        self._read.wait(self.metadata.header_length + begin, self.metadata.header_length + end)

    def wait_io(
        self, gbuf: Any, dtype: DType = DType.AUTO, noalign: bool = False, owner: Any = None
    ) -> dict[str, Any]:
        """Waits for all bytes and returns the tensors."""
        try:
            if self._read is not None:
                self._read.wait_all()
        finally:
            self.finish_io()
        return self._tensors(gbuf, dtype, owner)

    def finish_io(self) -> None:
        """Ends what is under way: nothing writes to the buffer any more. Any thread, any number of
        times."""
        if self._read is not None:
            self._read.finish()

    # ---- Inside ----

    def _lay_out(self) -> int:
        """Chooses the file offset at which the buffer begins, and returns the buffer's length."""
        start, end = self.metadata.header_length, self.metadata.size_bytes
        if self._names is not None:
            ranges = self._ranges or []
            start = min((begin for begin, _ in ranges), default=start)
            end = max((stop for _, stop in ranges), default=start)
        pad = self._padding(start, end - start)
        self._base = start - pad
        return max(end - self._base, self._allocation or 0)

    def _padding(self, start: int, span: int) -> int:
        """How far before its first byte the buffer begins, so that direct reads need no copy.

        None on a GPU, where bytes pass through staging anyhow; none where that would break a
        promise about the size of a chunk."""
        if self.device.type != DeviceType.CPU:
            return 0
        pad = start % ALIGN
        if self._allocation is not None and span + pad <= self._allocation:
            return pad
        return pad if self._names is None or (_COUNTS_OVERHEAD and self._allocation is None) else 0

    def _pieces(self, address: int) -> list[Piece]:
        ranges = self._ranges
        if ranges is None:
            ranges = [(self.metadata.header_length, self.metadata.size_bytes)]
        begins = [
            self.metadata.header_length + t.data_offsets[0] for t in self.metadata.tensors.values()
        ]
        return [
            Piece(begin, end, address + begin - self._base)
            for start, stop in ranges
            for begin, end in cut(start, stop, begins)
        ]

    def _tensors(self, gbuf: Any, dtype: DType, owner: Any) -> dict[str, Any]:
        options: dict[str, Any] = {"dtype": dtype}
        if _TAKES_OWNER:
            options["owner"] = owner
            if owner is not None and self._read is not None:
                self._read.lend(owner)
        if self._names is None:
            return self.metadata.get_tensors(gbuf, self.device, self._base, **options)
        return self.metadata._get_tensors(
            gbuf, self.device, self._base, names=self._names, **options
        )

    def _cuda(self) -> tuple[int, int] | None:
        """The device, and the stream on which its allocator may have handed out memory that is in
        use there."""
        if self.device.type == DeviceType.CPU:
            return None
        device = self.device.index or 0
        if self.framework.get_name() != "pytorch":
            return device, 0
        import torch

        return device, torch.cuda.current_stream(device).cuda_stream


def checked_ranges(metadata: Any, ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges as a list; ValueError unless they are pairs of whole numbers within the data, in
    order, apart."""
    found: list[tuple[int, int]] = []
    least = metadata.header_length
    for pair in ranges:
        if (
            not isinstance(pair, (tuple, list))
            or len(pair) != 2
            or any(isinstance(n, bool) or not hasattr(n, "__index__") for n in pair)
        ):
            raise ValueError(
                f"{metadata.src}: a byte range is a pair of whole numbers, not {pair!r}"
            )
        start, end = int(pair[0]), int(pair[1])
        if not least <= start < end <= metadata.size_bytes:
            raise ValueError(
                f"{metadata.src}: byte range [{start}, {end}) is empty, out of order, or outside "
                f"[{least}, {metadata.size_bytes})"
            )
        found.append((start, end))
        least = end
    return found


def checked_allocation(ranges: Sequence[tuple[int, int]], size: int | None) -> int | None:
    """The size of a chunk's buffer; ValueError where it is none, or too small for the chunk."""
    if size is None:
        return None
    span = ranges[-1][1] - ranges[0][0] if ranges else 0
    if isinstance(size, bool) or not hasattr(size, "__index__") or int(size) < max(span, 1):
        raise ValueError(
            f"allocation_size must be a whole number of at least {max(span, 1)}, got {size!r}"
        )
    return int(size)


def cut(start: int, stop: int, begins: Sequence[int]) -> Iterable[tuple[int, int]]:
    """Cuts [start, stop) where tensors begin, so that small neighbours share a piece and large
    tensors have one of their own. begins is sorted."""
    first, last = bisect_right(begins, start), bisect_left(begins, stop)
    for i in range(first, last):
        after = begins[i + 1] if i + 1 < last else stop
        if begins[i] > start and max(begins[i] - start, after - begins[i]) >= PIECE_BYTES:
            yield start, begins[i]
            start = begins[i]
    if start < stop:
        yield start, stop


# ---- The registry ----


def new_copier(
    device: Device, direct: str = "auto", context: Any = None, **others: Any
) -> Callable[..., WeirFileCopier]:
    """What fastsafetensors' registry holds: a loader's settings in, a constructor of copiers out.

    direct is "auto", "on" or "off" as in weir.open(); context a weir.Context with a budget of its
    own. Other settings (a mount point, the sizes of a ring) are of other copiers and are ignored: a
    path on 3FS is recognised, and rings are used where the mount has them."""
    if direct not in ("auto", "on", "off"):
        raise ValueError(f"direct must be 'auto', 'on' or 'off', got {direct!r}")

    def construct(metadata: Any, device: Device, framework: Any) -> WeirFileCopier:
        return WeirFileCopier(metadata, device, framework, direct=direct, context=context)

    return construct


def register(*, replace_3fs: bool | None = None) -> None:
    """Makes the copier type and the loader name `weir` known to fastsafetensors.

    replace_3fs: the copier type `3fs` as well, for every loader that is built from now on; None
    asks the environment (WEIR_FASTSAFETENSORS_3FS=1). That replaces a part of another package, in
    this process, and only because it was asked for. Calling again is fine."""
    _register_copier(COPIER_TYPE)
    if replace_3fs if replace_3fs is not None else os.environ.get(SWITCH) == "1":
        _register_copier("3fs")
    _register_loader()


def registered() -> list[str]:
    """The copier types that are weir's now."""
    from fastsafetensors.copier.registry import _copier_registry

    return [
        name for name, factory in _copier_registry.items() if inspect.unwrap(factory) is new_copier
    ]


def _register_copier(name: str) -> None:
    takes_class = "copier_class" in inspect.signature(register_copier_constructor).parameters
    arguments = (name, WeirFileCopier) if takes_class else (name,)
    register_copier_constructor(*arguments)(new_copier)


def _register_loader() -> None:
    """AutoLoader has a table of loader names, and looks the classes up in its own module."""
    from fastsafetensors import auto_loader

    table = getattr(auto_loader, "_LOADER_REGISTRY", None)
    if isinstance(table, dict):
        table[COPIER_TYPE] = WeirLoader.__name__
        setattr(auto_loader, WeirLoader.__name__, WeirLoader)


# ---- Loaders ----


class WeirLoader(BaseSafeTensorsFileLoader):
    """fastsafetensors' SafeTensorsFileLoader with weir below it: the same calls, the same results.

    >>> loader = WeirLoader(None, "cpu")
    >>> loader.add_filenames({0: ["model.safetensors"]})
    >>> buffers = loader.copy_files_to_device()
    >>> tensor = buffers.get_tensor("h.0.attn.weight")
    """

    def __init__(
        self,
        pg: Any,
        device: str = "cpu",
        *,
        direct: str = "auto",
        context: Any = None,
        set_numa: bool = True,
        disable_cache: bool = True,
        debug_log: bool = False,
        framework: str = "pytorch",
        **others: Any,
    ) -> None:
        if COPIER_TYPE not in registered():
            _register_copier(COPIER_TYPE)
        _load_gpu_library(debug_log)
        op = get_framework_op(framework)
        super().__init__(
            pg,
            op.get_device(device, op.get_process_group(pg)),
            copier_type=COPIER_TYPE,
            set_numa=set_numa,
            disable_cache=disable_cache,
            framework=framework,
            direct=direct,
            context=context,
            **others,
        )

    def copy_files_to_device(self, *args: Any, **named: Any) -> WeirBuffers:
        """As the base class has it."""
        buffers = super().copy_files_to_device(*args, **named)
        buffers.__class__ = WeirBuffers  # it is made inside, and differs in one method
        return buffers


class WeirBuffers(FilesBufferOnDevice):
    """FilesBufferOnDevice whose get_sharded() takes any size of a dimension.

    A scatter of unequal blocks fails on one rank and hangs the others: where the ranks cannot share
    a dimension evenly, the tensor is broadcast, and each rank keeps its block of it."""

    def get_sharded_wrapped(
        self, tensor_name: str, dim: int, device: Any = None, dtype: DType = DType.AUTO
    ) -> Any:
        """This rank's block of ceil(size / ranks) along a dimension; the last ones may be
        smaller."""
        ranks = self.pg.size()
        extent = 0 if dim == -1 else self.get_shape(tensor_name)[dim]
        if extent % ranks == 0:
            return super().get_sharded_wrapped(tensor_name, dim, device, dtype)
        start = self.pg.rank() * -(-extent // ranks)
        block = slice(start, start + -(-extent // ranks))
        whole = self.get_tensor_wrapped(tensor_name)
        part = whole[(slice(None),) * dim + (block,)].contiguous().clone()
        return part.to(device=device, dtype=dtype)


class ParallelWeirLoader(PipelineParallel):
    """fastsafetensors' ParallelLoader with weir below it: a producer's thread, then
    iterate_weights().

    all_local: each rank reads all files itself, as a tensor_filter needs it. More arguments
    (tensor_filter, max_batch_bytes, device_memory_budget ...) are those of the PipelineParallel
    that is installed; one that it lacks is a TypeError here, where it would silently be ignored."""

    def __init__(
        self,
        pg: Any,
        hf_weights_files: Sequence[str],
        max_concurrent_producers: int = 1,
        queue_size: int = 0,
        use_tqdm_on_load: bool = True,
        device: str = "cpu",
        set_numa: bool = True,
        debug_log: bool = False,
        framework: str = "pytorch",
        all_local: bool = False,
        direct: str = "auto",
        context: Any = None,
        **pipeline: Any,
    ) -> None:
        unknown = set(pipeline) - set(inspect.signature(PipelineParallel.__init__).parameters)
        if unknown:
            raise TypeError(f"this fastsafetensors has no {', '.join(sorted(unknown))}")
        group = SingleGroup() if all_local or pg is None else pg
        loader = WeirLoader(
            group,
            device,
            direct=direct,
            context=context,
            set_numa=set_numa,
            debug_log=debug_log,
            framework=framework,
        )
        super().__init__(
            group,
            loader,
            list(hf_weights_files),
            max_concurrent_producers,
            queue_size,
            use_tqdm_on_load,
            **pipeline,
        )


def _load_gpu_library(debug_log: bool) -> None:
    """fastsafetensors looks for the GPU's runtime library when a loader asks; "" leaves the name to
    it."""
    from fastsafetensors import cpp

    cpp.load_library_functions("")
    cpp.set_debug_log(debug_log)
