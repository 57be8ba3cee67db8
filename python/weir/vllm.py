# SPDX-License-Identifier: Apache-2.0
"""vLLM's load format `weir`: vllm serve MODEL --load-format weir

vLLM calls register() in each of its processes (entry point group vllm.general_plugins) and makes
one loader a worker. The loader streams the checkpoint's tensors, whole, to model.load_weights(),
whose weight loaders take each rank's part of them. What a rank does not need need not be read:
names and skip leave tensors out, slices reads just a rank's part of those that are named there.
docs/vllm.md is the manual.

Importing this module imports neither vLLM nor torch.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from glob import escape, glob
from typing import Any

__all__ = ["LOAD_FORMAT", "Options", "loader_class", "register"]

LOAD_FORMAT = "weir"
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Options:
    """--model-loader-extra-config, checked."""

    budget: int | str | None = (
        "4GiB"  # of tensors read and not yet taken; None: what the machine has
    )
    names: tuple[str, ...] = ()  # patterns of the tensors to load; none: all
    skip: tuple[str, ...] = ()  # patterns of the tensors to leave out
    slices: tuple[
        tuple[str, int], ...
    ] = ()  # pattern to the dimension of which a rank reads its part
    cache: str | None = None  # "leave" or "fill"; None: fill where several processes read the same
    device: str = "cpu"  # where tensors are handed to vLLM's weight loaders
    progress: bool | None = None  # None: as --use-tqdm-on-load says
    timeout: float | None = None  # seconds for all of it

    @classmethod
    def parse(cls, extra: Any) -> Options:
        """ValueError, with the key's name, for what makes no sense."""
        if extra is None:
            return cls()
        if not isinstance(extra, Mapping):
            raise ValueError(
                f"model_loader_extra_config must be a dictionary, not {type(extra).__name__}"
            )
        known = [field.name for field in fields(cls)]
        for key in extra:
            if key not in known:
                raise ValueError(
                    f"model_loader_extra_config: load format weir knows no '{key}'; "
                    f"it knows {', '.join(known)}"
                )
        return cls(**{key: _READERS[key](key, value) for key, value in extra.items()})

    def wants(self, name: str) -> bool:
        """Whether the tensor of this name is to be read."""
        return (not self.names or _matches(name, self.names)) and not _matches(name, self.skip)

    def dimension(self, name: str) -> int | None:
        """Of which dimension a rank reads its part; None: the tensor is read whole."""
        return next((dim for pattern, dim in self.slices if fnmatchcase(name, pattern)), None)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _wrong(key: str, wanted: str, value: Any) -> ValueError:
    return ValueError(f"model_loader_extra_config: {key} must be {wanted}, not {value!r}")


def _budget(key: str, value: Any) -> int | str | None:
    from weir import sizes

    if value is not None:
        try:
            if not isinstance(value, bool) and sizes.parse(value) > 0:
                return value
        except ValueError:
            pass
        raise _wrong(key, 'a size such as 2147483648 or "2GiB"', value)
    return None


def _patterns(key: str, value: Any) -> tuple[str, ...]:
    found = (value,) if isinstance(value, str) else value
    if not isinstance(found, (list, tuple)) or not all(isinstance(p, str) and p for p in found):
        raise _wrong(key, "a pattern or a list of patterns of tensor names", value)
    return tuple(found)


def _slices(key: str, value: Any) -> tuple[tuple[str, int], ...]:
    if not isinstance(value, Mapping) or not all(
        isinstance(p, str) and p and type(dim) is int and dim >= 0 for p, dim in value.items()
    ):
        raise _wrong(key, "a dictionary of patterns of tensor names to dimensions", value)
    return tuple(value.items())


def _device(key: str, value: Any) -> str:
    if not isinstance(value, str) or value.split(":")[0] not in ("cpu", "cuda"):
        raise _wrong(key, '"cpu" or "cuda"', value)
    return value


def _cache_mode(key: str, value: Any) -> str | None:
    if value not in (None, "leave", "fill"):
        raise _wrong(key, '"leave" or "fill"', value)
    return value


def _flag(key: str, value: Any) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise _wrong(key, "true or false", value)
    return value


def _seconds(key: str, value: Any) -> float | None:
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0
    ):
        raise _wrong(key, "a positive number of seconds", value)
    return value


_READERS = {
    "budget": _budget,
    "names": _patterns,
    "skip": _patterns,
    "slices": _slices,
    "cache": _cache_mode,
    "device": _device,
    "progress": _flag,
    "timeout": _seconds,
}


# ---- What to load ----


@dataclass(frozen=True)
class Source:
    """One place that weights come from; a model may name more beside its own."""

    path: str
    revision: str | None = None
    subfolder: str | None = None
    prefix: str = ""
    patterns: tuple[str, ...] = ("*.safetensors",)
    unused: Any = None  # callable: the checkpoint's name of a tensor that the model does not take


def sources(model: Any, model_config: Any) -> Iterator[Source]:
    """The model's own weights first, then the secondary ones that its class declares."""
    patterns = tuple(getattr(model, "allow_patterns_overrides", None) or ("*.safetensors",))
    yield Source(
        getattr(model_config, "model_weights", None) or model_config.model,
        getattr(model_config, "revision", None),
        patterns=patterns,
        unused=getattr(model, "is_unused_checkpoint_weight", None),
    )
    for other in getattr(model, "secondary_weights", ()):
        patterns = getattr(other, "allow_patterns_overrides", None) or ("*.safetensors",)
        yield Source(
            other.model_or_path,
            other.revision,
            getattr(other, "subfolder", None),
            other.prefix,
            tuple(patterns),
            getattr(other, "is_unused_weight", None),
        )


def locate(source: Source, load_config: Any) -> str | list[str]:
    """What weir.open() takes: a URI, an index or a list of files. Fetches what is not here by
    vLLM's own means."""
    if "://" in source.path:
        return source.path
    folder = source.path if os.path.exists(source.path) else _download(source, load_config)
    if os.path.isfile(folder):
        return folder
    if source.subfolder is not None:
        folder = os.path.join(folder, source.subfolder)
    index = os.path.join(folder, INDEX)
    if source.patterns == ("*.safetensors",) and os.path.isfile(index):
        return index
    for pattern in source.patterns:
        found = sorted(glob(os.path.join(escape(folder), pattern)))
        if found and all(path.endswith(".safetensors") for path in found):
            return found
    raise RuntimeError(f"{source.path}: no safetensors files there ({', '.join(source.patterns)})")


def _download(source: Source, load_config: Any) -> str:
    from vllm.model_executor.model_loader import weight_utils

    subfolder = {} if source.subfolder is None else {"subfolder": source.subfolder}
    folder = weight_utils.download_weights_from_hf(
        source.path,
        load_config.download_dir,
        list(source.patterns),
        source.revision,
        ignore_patterns=load_config.ignore_patterns,
        **subfolder,
    )
    weight_utils.download_safetensors_index_file_from_hf(
        source.path, INDEX, load_config.download_dir, revision=source.revision, **subfolder
    )
    return folder


# ---- Loading it ----


def weights(
    model: Any, model_config: Any, load_config: Any, options: Options
) -> Iterator[tuple[str, Any]]:
    """(name, torch tensor) of all that is wanted, as it arrives."""
    for source in sources(model, model_config):
        yield from _stream(source, load_config, options)


def tensor_parallel() -> tuple[int, int]:
    """This worker's rank in its tensor-parallel group, and the group's size."""
    from vllm.distributed import (
        get_tensor_model_parallel_rank,
        get_tensor_model_parallel_world_size,
    )

    return get_tensor_model_parallel_rank(), get_tensor_model_parallel_world_size()


def _stream(source: Source, load_config: Any, options: Options) -> Iterator[tuple[str, Any]]:
    import weir

    with weir.open(locate(source, load_config), cache=_cache(options)) as checkpoint:
        names = _wanted(checkpoint, source, options)
        cuts = _cuts(checkpoint, names, options)
        for name, tensor in weir.stream(
            checkpoint,
            framework="torch",
            device=_target(options),
            names=names,
            slices=cuts,
            budget=options.budget,
            timeout=options.timeout,
            progress=_progress(options, load_config),
        ):
            if name in cuts:
                tensor = in_place(tensor, checkpoint.tensors[name].shape, *cuts[name][:2])
            yield source.prefix + name, tensor


def _wanted(checkpoint: Any, source: Source, options: Options) -> list[str]:
    names = [
        name
        for name in checkpoint.names
        if options.wants(name) and not (source.unused and source.unused(name))
    ]
    if not names and (options.names or options.skip):
        raise ValueError(
            f"{source.path}: names and skip of model_loader_extra_config leave none of "
            f"its {len(checkpoint.names)} tensors"
        )
    return names


def _cuts(checkpoint: Any, names: list[str], options: Options) -> dict[str, tuple[int, int, int]]:
    """What this rank reads of the tensors that are not read whole."""
    rank, ranks = tensor_parallel() if options.slices else (0, 1)
    found = {
        name: rank_part(checkpoint.tensors[name], options.dimension(name), rank, ranks)
        for name in names
    }
    return {name: part for name, part in found.items() if part is not None}


def rank_part(info: Any, dim: int | None, rank: int, ranks: int) -> tuple[int, int, int] | None:
    """(dimension, start, stop) of a rank's part; None where the tensor has to be read whole.

    Weight loaders narrow to equal parts, so a dimension that the ranks cannot share evenly is read
    whole; so are elements that do not fill bytes."""
    from weir import _native

    if dim is None or ranks == 1 or dim >= len(info.shape) or _native.dtype_bits(info.dtype) % 8:
        return None
    share, rest = divmod(info.shape[dim], ranks)
    return None if rest or not share else (dim, rank * share, (rank + 1) * share)


def in_place(part: Any, shape: Sequence[int], dim: int, start: int) -> Any:
    """A tensor of the full shape with the part at its place, so that a weight loader finds it where
    it looks.

    The rest is zero, and on the CPU costs no memory: its pages are never touched."""
    import torch

    full = torch.zeros(tuple(shape), dtype=part.dtype, device=part.device)
    full.narrow(dim, start, part.shape[dim]).copy_(part)
    return full


def _target(options: Options) -> str:
    if options.device != "cuda":
        return options.device
    import torch

    return f"cuda:{torch.cuda.current_device()}"


def _cache(options: Options) -> str:
    """Ranks that read the same tensors meet in the page cache; one alone has no use for it."""
    return options.cache or ("fill" if _place()[1] > 1 else "leave")


def _progress(options: Options, load_config: Any) -> bool:
    """A bar where one was asked for, of the first process alone."""
    asked = options.progress
    if asked is None:
        asked = bool(getattr(load_config, "use_tqdm_on_load", False))
    return asked and _place()[0] == 0


def _place() -> tuple[int, int]:
    """This process among all of the model's, and their number."""
    import torch

    group = torch.distributed
    if not group.is_available() or not group.is_initialized():
        return 0, 1
    return group.get_rank(), group.get_world_size()


@functools.cache
def loader_class() -> type:
    """The loader, a subclass of vLLM's BaseModelLoader; imports vLLM."""
    from vllm.model_executor.model_loader.base_loader import BaseModelLoader

    class WeirModelLoader(BaseModelLoader):
        """Streams a checkpoint's tensors through weir into a model."""

        def __init__(self, load_config: Any) -> None:
            super().__init__(load_config)
            self.options = Options.parse(load_config.model_loader_extra_config)

        def download_model(self, model_config: Any) -> None:
            """Fetches what load_weights() will read, where that is not here."""
            for source in sources(None, model_config):
                locate(source, self.load_config)

        def load_weights(self, model: Any, model_config: Any) -> None:
            """Gives each tensor to the model's weight loaders as it arrives."""
            model.load_weights(weights(model, model_config, self.load_config, self.options))

    return WeirModelLoader


@functools.cache
def register() -> None:
    """The entry point: makes the load format known to vLLM. Again in the same process, it does
    nothing."""
    try:
        from vllm.model_executor.model_loader import register_model_loader

        loader = loader_class()
    except ImportError as failure:  # a plug-in that raises would end every start of that vLLM
        logging.getLogger(__name__).warning("this vLLM gets no load format weir: %s", failure)
        return
    register_model_loader(LOAD_FORMAT)(loader)
