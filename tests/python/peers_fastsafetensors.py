# SPDX-License-Identifier: Apache-2.0
"""The copier and the loaders that plug weir into fastsafetensors, as that package drives them.

Needs torch, safetensors and fastsafetensors 0.5 beside weir. Older releases, and groups of several
ranks, are run by the files beside this one, in processes of their own."""

import contextlib
import gc
import inspect
import os
import re
import threading
import time
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
fastsafetensors = pytest.importorskip("fastsafetensors")

from fastsafetensors import SafeTensorsMetadata, SingleGroup, auto_loader
from fastsafetensors.copier import registry
from fastsafetensors.frameworks import get_framework_op
from fastsafetensors.st_types import Device, DType
from safetensors.torch import save_file
from fst_lib import (
    GIB16,
    assert_equal,
    configure,
    data_bytes,
    delivered,
    reference,
    same,
    write_model,
)

import weir
import weir.fastsafetensors as plugin

FRAMEWORK = get_framework_op("pytorch")
CPU = Device.from_str("cpu")


@pytest.fixture(autouse=True)
def tidy():
    """Each test leaves the registry and the memory that fastsafetensors counts as it found them."""
    copiers, classes = dict(registry._copier_registry), dict(registry._copier_class_registry)
    loaders = dict(auto_loader._LOADER_REGISTRY)
    used = FRAMEWORK.get_mem_used()
    yield
    for table, before in (
        (registry._copier_registry, copiers),
        (registry._copier_class_registry, classes),
        (auto_loader._LOADER_REGISTRY, loaders),
    ):
        table.clear()
        table.update(before)
    gc.collect()
    assert FRAMEWORK.get_mem_used() == used
    assert fastsafetensors.live_allocation_count() == 0


@pytest.fixture
def paths(tmp_path):
    """A model of two files."""
    return write_model(str(tmp_path))


def new_copier(path, **settings):
    """A copier for one file, and the file's metadata."""
    metadata = SafeTensorsMetadata.from_file(path, FRAMEWORK)
    return plugin.WeirFileCopier(metadata, CPU, FRAMEWORK, **settings), metadata


def load_all(copier):
    """All that a copier was told to read, as clones; its memory is given back."""
    buffer = copier.submit_io(True, GIB16)
    try:
        return {name: tensor.get_raw().clone() for name, tensor in copier.wait_io(buffer).items()}
    finally:
        FRAMEWORK.free_tensor_memory(buffer, CPU)


# ---- The registry ----


def test_C_50_importing_registers_nothing():
    assert plugin.registered() == []
    with pytest.raises(KeyError):
        registry.create_copier_constructor("weir", CPU)


def test_C_50_the_copier_registers_and_appears(monkeypatch):
    monkeypatch.delenv(plugin.SWITCH, raising=False)
    plugin.register()
    plugin.register()
    assert plugin.registered() == ["weir"]
    assert registry.get_copier_class("weir") is plugin.WeirFileCopier
    construct = registry.create_copier_constructor("weir", CPU, framework=FRAMEWORK, set_numa=True)
    assert registry.copier_class_of(construct) is plugin.WeirFileCopier


def test_the_name_3fs_is_taken_over_only_when_asked(monkeypatch):
    monkeypatch.setenv(plugin.SWITCH, "1")
    plugin.register(replace_3fs=False)
    assert plugin.registered() == ["weir"]
    plugin.register()
    assert sorted(plugin.registered()) == ["3fs", "weir"]


def test_a_setting_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="direct must be"):
        plugin.new_copier(CPU, direct="sideways")


# ---- One copier ----


def test_a_whole_file(paths):
    copier, _ = new_copier(paths[0])
    before = delivered()
    assert_equal(load_all(copier), reference(paths[:1]))
    assert delivered() - before == data_bytes(paths[:1])


def test_C_50_byte_ranges_are_all_that_is_read(paths):
    copier, metadata = new_copier(paths[0])
    wanted = {"s0.h.1.attn.weight", "s0.h.3.attn.bias", "s0.five"}
    ranges = metadata.select_byte_ranges(lambda name: name in wanted)
    copier.set_byte_ranges(ranges)
    before = delivered()
    found = load_all(copier)
    assert delivered() - before == sum(end - start for start, end in ranges)
    whole = reference(paths[:1])
    assert all(same(found[name], whole[name]) for name in wanted)


@pytest.mark.parametrize(
    "wrong",
    [[(0, 8)], [(-8, 8)], ["ab"], [(True, 9999)], [(1.5, 2.5)], [(9999, 9998)], [5], [(1, 2, 3)]],
)
def test_C_50_wrong_ranges_are_refused(paths, wrong):
    copier, metadata = new_copier(paths[0])
    base = metadata.header_length
    for ranges in (
        wrong,
        [(base, base + 16), (base + 8, base + 32)],
        [(base, metadata.size_bytes + 1)],
        [(base + 8, base + 8)],
    ):
        with pytest.raises(ValueError):
            copier.set_byte_ranges(ranges)
    copier.set_byte_ranges([])
    copier.set_byte_ranges(None)


@pytest.mark.parametrize("allocation", [None, "span", "more"])
def test_C_50_a_chunk_of_three_arguments(paths, allocation):
    copier, metadata = new_copier(paths[1])
    wanted = {"s1.five", "s1.h.2.attn.weight", "s1.scale", "s1.empty"}
    ranges = metadata.select_byte_ranges(lambda name: name in wanted)
    span = ranges[-1][1] - ranges[0][0]
    size = {None: None, "span": span, "more": span + 100_000}[allocation]
    if size is None:
        copier.set_chunk(ranges, wanted)
    else:
        copier.set_chunk(ranges, wanted, size)
    before = delivered()
    buffer = copier.submit_io(True, GIB16)
    if size is None:
        assert span <= buffer.get_length() <= span + plugin.ALIGN
    else:
        assert buffer.get_length() == size
    found = {name: t.get_raw().clone() for name, t in copier.wait_io(buffer).items()}
    FRAMEWORK.free_tensor_memory(buffer, CPU)
    assert delivered() - before == sum(end - start for start, end in ranges)
    whole = reference(paths[1:])
    assert_equal(found, {name: whole[name] for name in wanted & set(whole)})


@pytest.mark.parametrize("size", [0, -1, True, 1.5, "64", 10])
def test_C_50_an_allocation_that_cannot_be_is_refused(paths, size):
    copier, metadata = new_copier(paths[0])
    base = metadata.header_length
    with pytest.raises(ValueError):
        copier.set_chunk([(base, base + 64)], {"s0.five"}, size)


def test_a_chunk_of_nothing(paths):
    copier, _ = new_copier(paths[0])
    copier.set_chunk([], {"s0.empty"})
    assert list(load_all(copier)) == ["s0.empty"]


def test_a_conversion_to_a_smaller_type(tmp_path):
    path = str(tmp_path / "wide.safetensors")
    wide = {"a": torch.randn(50, 70), "b": torch.arange(9.0)}
    save_file(wide, path)
    loader = plugin.WeirLoader(None, "cpu")
    loader.add_filenames({0: [path]})
    buffers = loader.copy_files_to_device(dtype=DType.F16, allow_inflight=True)
    for name, tensor in wide.items():
        assert same(buffers.get_tensor(name), tensor.to(torch.float16))
    buffers.close()
    loader.close()


def test_pieces_are_cut_at_tensors_and_join_small_ones():
    mib = plugin.PIECE_BYTES
    begins = [0, 10, 20, 20 + 2 * mib, 30 + 2 * mib, 30 + 3 * mib]
    end = 40 + 3 * mib
    assert list(plugin.cut(0, end, begins)) == [
        (0, 20),
        (20, 20 + 2 * mib),
        (20 + 2 * mib, 30 + 2 * mib),
        (30 + 2 * mib, 30 + 3 * mib),
        (30 + 3 * mib, end),
    ]
    assert list(plugin.cut(5, 15, begins)) == [(5, 15)]
    assert list(plugin.cut(7, 7, begins)) == []


def test_host_memory_and_file_agree_modulo_a_page(paths):
    copier, metadata = new_copier(paths[0])
    buffer = copier.submit_io(True, GIB16)
    tensors = copier.wait_io(buffer)
    name = "s0.large"
    offset = metadata.header_length + metadata.tensors[name].data_offsets[0]
    assert (tensors[name].get_raw().data_ptr() - offset) % plugin.ALIGN == 0
    del tensors
    FRAMEWORK.free_tensor_memory(buffer, CPU)


def test_memory_of_a_gpu_is_named_with_its_device_and_stream(paths, monkeypatch):
    metadata = SafeTensorsMetadata.from_file(paths[0], FRAMEWORK)
    other = SimpleNamespace(get_name=lambda: "paddle")
    copier = plugin.WeirFileCopier(metadata, Device.from_str("cuda:1"), other)
    assert copier._cuda() == (1, 0)
    stream = SimpleNamespace(cuda_stream=77)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    copier = plugin.WeirFileCopier(metadata, Device.from_str("cuda"), FRAMEWORK)
    assert copier._cuda() == (0, 77)
    assert copier._lay_out() == metadata.size_bytes - metadata.header_length


# ---- Errors ----


def test_C_49_a_file_that_became_short(paths):
    loader = plugin.WeirLoader(None, "cpu")
    loader.add_filenames({0: paths})
    size = os.path.getsize(paths[1])
    kept = open(paths[1], "rb").read()
    os.truncate(paths[1], size - 100)
    with pytest.raises(weir.Error, match="00002-of-00002"):
        loader.copy_files_to_device()
    assert FRAMEWORK.get_mem_used() == 0
    with open(paths[1], "wb") as file:
        file.write(kept)
    buffers = loader.copy_files_to_device()
    assert same(buffers.get_tensor("s1.five"), reference(paths)["s1.five"])
    buffers.close()
    loader.close()


def test_a_file_that_is_gone(paths):
    copier, _ = new_copier(paths[0])
    os.unlink(paths[0])
    with pytest.raises(FileNotFoundError) as caught:
        copier.submit_io(True, GIB16)
    assert caught.value.code == "NOTFOUND"
    copier.finish_io()


def test_D_50_a_submit_that_fails_frees_its_buffer(paths, monkeypatch):
    def fail(self, pieces, cuda):
        raise MemoryError("no room")

    monkeypatch.setattr(plugin.RangeRead, "start", fail)
    copier, _ = new_copier(paths[0])
    with pytest.raises(MemoryError):
        copier.submit_io(True, GIB16)
    assert FRAMEWORK.get_mem_used() == 0
    copier.finish_io()


def test_a_copier_is_submitted_once(paths):
    copier, _ = new_copier(paths[0])
    load_all(copier)
    with pytest.raises(RuntimeError):
        copier.submit_io(True, GIB16)
    with pytest.raises(ValueError):
        new_copier(paths[0])[0].submit_io(True, 0)


def test_C_81_the_second_file_fails_to_submit(paths, monkeypatch):
    calls = []
    wait_io = plugin.WeirFileCopier.wait_io

    def recorded(self, gbuf, **named):
        calls.append((os.path.basename(self.metadata.src), named))
        return wait_io(self, gbuf, **named)

    monkeypatch.setattr(plugin.WeirFileCopier, "wait_io", recorded)
    loader = plugin.WeirLoader(None, "cpu")
    loader.add_filenames({0: paths})
    os.unlink(paths[1])
    with pytest.raises(FileNotFoundError):
        loader.copy_files_to_device()
    assert calls == [("model-00001-of-00002.safetensors", {"noalign": True})]
    assert fastsafetensors.live_allocation_count() == 0
    assert FRAMEWORK.get_mem_used() == 0
    loader.close()


# ---- Loads through fastsafetensors' own loaders ----


def weights_of(loader):
    """All that a loader yields."""
    with contextlib.closing(loader.iterate_weights()) as weights:
        found = dict(weights)
    loader.close()
    return found


@pytest.mark.parametrize("name", ["weir", "3fs"])
@pytest.mark.parametrize(
    "config",
    [
        {},
        {"use_pipeline": True},
        {"use_pipeline": True, "queue_size": 2},
        {"max_batch_bytes": 4 << 20},
        {"max_batch_bytes": 4 << 20, "use_chunk_budget_as_allocation_size": True},
        {"device_memory_budget": 24 << 20},
        {
            "use_pipeline": True,
            "device_memory_budget": 24 << 20,
            "use_chunk_budget_as_allocation_size": True,
        },
    ],
    ids=lambda config: "-".join(config) or "default",
)
def test_C_80_auto_loader(paths, tmp_path, monkeypatch, name, config):
    plugin.register(replace_3fs=True)
    configure(
        monkeypatch,
        tmp_path,
        loader=name,
        parallel={**config, "use_tqdm_on_load": False},
        **{name: {"mount_point": str(tmp_path)}},
    )
    before = delivered()
    found = weights_of(fastsafetensors.AutoLoader(SingleGroup(), paths))
    assert_equal(found, reference(paths))
    assert delivered() - before == data_bytes(paths)


def test_C_80_a_filter_reads_what_it_keeps(paths):
    def keep(name):
        return ".experts.2." in name or name.endswith("five")

    ranges = [
        SafeTensorsMetadata.from_file(path, FRAMEWORK).select_byte_ranges(keep) for path in paths
    ]
    before = delivered()
    found = weights_of(
        plugin.ParallelWeirLoader(None, paths, use_tqdm_on_load=False, tensor_filter=keep)
    )
    assert_equal(found, {name: t for name, t in reference(paths).items() if keep(name)})
    assert delivered() - before == sum(end - start for each in ranges for start, end in each)


def test_C_55_a_budget_of_little_more_than_the_largest_tensor(tmp_path, monkeypatch):
    model = {f"h.{n:02}": torch.randn(1 << 18) for n in range(20)}
    path = str(tmp_path / "model.safetensors")
    save_file(model, path)
    budget, peak, allocate = (1 << 20) * 5 // 4, [], FRAMEWORK.alloc_tensor_memory

    def counted(length, device):
        buffer = allocate(length, device)
        peak.append(FRAMEWORK.get_mem_used())
        return buffer

    monkeypatch.setattr(FRAMEWORK, "alloc_tensor_memory", counted)
    loader = plugin.ParallelWeirLoader(
        None, [path], queue_size=-1, use_tqdm_on_load=False, max_batch_bytes=budget
    )
    assert_equal(weights_of(loader), model)
    assert len(peak) == 20 and max(peak) <= budget


def test_borrowed_tensors(paths):
    loader = plugin.ParallelWeirLoader(
        None, paths, use_tqdm_on_load=False, borrowed_tensors=True, accumulate_resident=False
    )
    whole, seen = reference(paths), 0
    for name, tensor in loader.iterate_weights():
        assert same(tensor, whole[name]), name
        seen += 1
    loader.close()
    assert seen == len(whole)


def test_an_argument_that_the_pipeline_lacks_is_refused(paths):
    with pytest.raises(TypeError, match="max_batch_bites"):
        plugin.ParallelWeirLoader(None, paths, max_batch_bites=1)


def test_C_52_tensors_outlive_their_loader(paths):
    loader = plugin.WeirLoader(None, "cpu")
    loader.add_filenames({0: paths})
    buffers = loader.copy_files_to_device(allow_inflight=True)
    kept = buffers.get_tensor("s1.five")
    buffers.close()
    buffers.close()
    loader.close()
    assert same(kept, reference(paths)["s1.five"])
    assert fastsafetensors.live_allocation_count() == 1
    del kept, buffers
    gc.collect()
    assert fastsafetensors.live_allocation_count() == 0


# ---- While bytes are on their way ----


@pytest.fixture
def slow(tmp_path, monkeypatch):
    """A model whose bytes come from objects in memory, in small requests at 8 MiB a second."""
    paths = write_model(str(tmp_path), large=6 << 20)
    context = weir.Context(lanes=1, depth=4, request=128 << 10)
    for path in paths:
        with open(path, "rb") as file:
            context.put_memory(os.path.basename(path), file.read())
    context.behave_memory(0.001, 0, 8 << 20)
    monkeypatch.setattr(
        plugin.WeirFileCopier, "uri", lambda self: "memory://" + os.path.basename(self.metadata.src)
    )
    return SimpleNamespace(paths=paths, context=context)


def test_C_82_the_first_tensor_before_the_last_byte(slow):
    loader = plugin.WeirLoader(None, "cpu", context=slow.context)
    loader.add_filenames({0: slow.paths})
    buffers = loader.copy_files_to_device(allow_inflight=True)
    tensor = buffers.get_tensor("s0.five")
    assert slow.context.counters()["bytes_delivered"] < data_bytes(slow.paths) // 4
    assert same(tensor, reference(slow.paths)["s0.five"])
    start = time.monotonic()
    del tensor
    buffers.close()
    assert time.monotonic() - start < 1
    loader.close()


def test_C_82_two_files_are_in_flight(slow, monkeypatch):
    under_way, most = set(), []
    submit_io, finish_io = plugin.WeirFileCopier.submit_io, plugin.WeirFileCopier.finish_io

    def submitted(self, *arguments):
        buffer = submit_io(self, *arguments)
        under_way.add(self)
        most.append(len(under_way))
        return buffer

    def finished(self):
        finish_io(self)
        under_way.discard(self)

    monkeypatch.setattr(plugin.WeirFileCopier, "submit_io", submitted)
    monkeypatch.setattr(plugin.WeirFileCopier, "finish_io", finished)
    loader = plugin.ParallelWeirLoader(
        None, slow.paths, queue_size=0, use_tqdm_on_load=False, context=slow.context
    )
    assert_equal(weights_of(loader), reference(slow.paths))
    assert max(most) == 2


@pytest.mark.parametrize("queue_size", [-1, 0, 2])
def test_C_54_C_82_a_consumer_that_stops_early(slow, queue_size):
    threads = threading.active_count()
    loader = plugin.ParallelWeirLoader(
        None, slow.paths, queue_size=queue_size, use_tqdm_on_load=False, context=slow.context
    )
    weights = loader.iterate_weights()
    next(weights)
    start = time.monotonic()
    weights.close()
    assert time.monotonic() - start < 1
    assert threading.active_count() == threads
    loader.close()


def test_C_82_wait_tensor_of_bytes_that_nobody_reads(paths):
    copier, metadata = new_copier(paths[0])
    copier.set_byte_ranges(metadata.select_byte_ranges(lambda name: name.endswith("five")))
    assert copier.enable_tensor_readiness()
    buffer = copier.submit_io(True, GIB16)
    copier.prepare_tensors(buffer)
    copier.wait_tensor("s0.five")
    copier.wait_tensor("s0.empty")
    with pytest.raises(ValueError, match="not read"):
        copier.wait_tensor("s0.large")
    copier.finish_io()
    copier.finish_io()
    FRAMEWORK.free_tensor_memory(buffer, CPU)


def test_C_82_finish_from_another_thread_ends_a_wait(slow):
    copier, _ = new_copier(slow.paths[0], context=slow.context)
    buffer = copier.submit_io(True, GIB16)
    failures = []

    def wait():
        try:
            copier.wait_tensor("s0.large")
        except Exception as failure:
            failures.append(failure)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.1)
    start = time.monotonic()
    copier.finish_io()
    thread.join()
    assert time.monotonic() - start < 1
    assert [failure.code for failure in failures] == ["CANCELLED"]
    FRAMEWORK.free_tensor_memory(buffer, CPU)


def test_many_threads_wait_for_tensors_of_one_copier(slow):
    copier, _ = new_copier(slow.paths[0], context=slow.context)
    buffer = copier.submit_io(True, GIB16)
    tensors = copier.prepare_tensors(buffer)
    whole, wrong = reference(slow.paths[:1]), []

    def look(name):
        copier.wait_tensor(name)
        if not same(tensors[name].get_raw(), whole[name]):
            wrong.append(name)

    threads = [threading.Thread(target=look, args=(name,)) for name in whole]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    copier.finish_io()
    assert wrong == []
    tensors.clear()
    FRAMEWORK.free_tensor_memory(buffer, CPU)


def test_the_signature_is_the_base_class(paths):
    base = inspect.signature(registry.CopierInterface.set_chunk)
    assert list(base.parameters) == list(
        inspect.signature(plugin.WeirFileCopier.set_chunk).parameters
    )


def test_the_manual_runs(tmp_path, monkeypatch):
    page = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/fastsafetensors.md")
    with open(page) as file:
        pieces = re.findall(r"^```python\n(.*?)^```$", file.read(), re.MULTILINE | re.DOTALL)
    assert len(pieces) == 4
    (tmp_path / "model").mkdir()
    write_model(str(tmp_path / "model"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASTSAFETENSORS_CONFIG", "")  # the pieces set it
    exec("".join(pieces), {})  # noqa: S102 - that is the point
