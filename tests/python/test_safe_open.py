# SPDX-License-Identifier: Apache-2.0
"""safe_open to NumPy: the handle, its slices, what it reads, threads, processes, life times."""

import gc
import inspect
import os
import threading

import files
import numpy as np
import pytest

import weir
from weir import safe_open

SHAPE = (64, 32)


def as_array(data, shape=SHAPE):
    return np.frombuffer(data, np.float32).reshape(shape)


# ---- The handle ----


def test_the_signatures_are_safetensors():
    def words(function):
        return [
            (name, parameter.kind.name, parameter.default)
            for name, parameter in inspect.signature(function).parameters.items()
        ][1:]

    empty = inspect.Parameter.empty
    assert words(safe_open.__init__) == [
        ("filename", "POSITIONAL_OR_KEYWORD", empty),
        ("framework", "POSITIONAL_OR_KEYWORD", empty),
        ("device", "POSITIONAL_OR_KEYWORD", "cpu"),
        ("backend", "KEYWORD_ONLY", "mmap"),
    ]
    assert words(safe_open.prefetch) == [
        ("plan", "POSITIONAL_OR_KEYWORD", None),
        ("device", "KEYWORD_ONLY", None),
        ("threads", "KEYWORD_ONLY", 8),
    ]


def test_what_a_handle_says(small):
    with safe_open(small.path, "np") as file:
        assert file.keys() == sorted(small.tensors)
        assert file.offset_keys() == list(small.tensors)
        assert file.metadata() == {"format": "pt", "who": "tests"}
        meta = file.get_tensor_meta("b")
        assert (meta.dtype, meta.shape) == ("F16", [3, 5, 7])
        assert meta.data_offsets == (64 * 32 * 4, 64 * 32 * 4 + 210)


def test_tensors_bit_for_bit(small):
    with safe_open(small.path, "np") as file:
        together = file.get_tensors()
        assert list(together) == file.offset_keys()
        for name, (_, shape) in small.tensors.items():
            alone = file.get_tensor(name)
            assert alone.tobytes() == together[name].tobytes() == small.content[name]
            assert alone.shape == together[name].shape == shape


@pytest.mark.parametrize("metadata", [None, {}, {"a": "b"}])
def test_metadata_is_what_the_file_says(tmp_path, metadata):
    files.write(tmp_path / "m", {"a": ("U8", (1,))}, metadata)
    assert safe_open(tmp_path / "m", "np").metadata() == metadata
    shard = weir.open(tmp_path / "m").shards[0]
    assert (shard.metadata, shard.has_metadata) == (metadata or {}, metadata is not None)


def test_a_closed_handle_says_so(small):
    with safe_open(small.path, "np") as file:
        part = file.get_slice("a")
    calls = [file.keys, file.offset_keys, file.metadata, file.get_tensors, file.prefetch]
    calls += [lambda: file.get_tensor("a"), lambda: file.get_slice("a")]
    for call in calls:
        with pytest.raises(weir.Closed, match="^File is closed$"):
            call()
    assert part[0].tobytes() == small.content["a"][: 32 * 4]  # as in safetensors


def test_arguments_are_checked(small, tmp_path):
    for bad in (3, None, b"bytes"):
        with pytest.raises(TypeError):
            safe_open(bad, "np")
    for framework in ("bogus", "NUMPY", "tf", "mlx"):
        with pytest.raises(weir.ArgumentError, match=framework):
            safe_open(small.path, framework)
    for device in ("bogus", "cpu:0", -1, 1.0, "meta"):
        with pytest.raises(weir.ArgumentError, match="is invalid"):
            safe_open(small.path, "np", device)
    with pytest.raises(weir.ArgumentError, match="not supported for framework numpy"):
        safe_open(small.path, "np", "cuda")
    with pytest.raises(ValueError, match="invalid digit"):
        safe_open(small.path, "np", "cuda:x")
    with pytest.raises(weir.ArgumentError, match="backend"):
        safe_open(small.path, "np", backend="bogus")
    with pytest.raises(FileNotFoundError):
        safe_open(tmp_path / "absent", "np")
    with pytest.raises(IsADirectoryError):
        safe_open(tmp_path, "np")


def test_names_are_checked(small):
    file = safe_open(small.path, "np")
    for call in (file.get_tensor, file.get_slice, file.get_tensor_meta):
        with pytest.raises(weir.ArgumentError, match="^File does not contain tensor nope$"):
            call("nope")
        with pytest.raises(TypeError, match="'int' object is not an instance of 'str'"):
            call(1)


# ---- Slices ----


@pytest.mark.parametrize(
    "index",
    [
        0, -1, slice(3, 9), slice(None, None, 5), (slice(None), 7), (slice(2, 4), slice(8, 16)),
        (..., slice(1, 31, 3)), (5, slice(4, 4)), (63, 31), ..., (),
    ],
)  # fmt: skip
def test_a_slice_is_what_numpy_makes_of_it(small, index):
    got = safe_open(small.path, "np").get_slice("a")[index]
    want = as_array(small.content["a"])[index]
    assert got.shape == want.shape and got.dtype == want.dtype
    assert got.tobytes() == want.tobytes()
    assert got.flags.c_contiguous


def test_a_slice_reads_its_bytes_only(tmp_path):
    rows, columns = 4096, 4096
    data = np.arange(rows * columns, dtype=np.uint32)
    files.write(tmp_path / "m", {"a": ("U32", (rows, columns), data.tobytes())})
    file = safe_open(tmp_path / "m", "np")
    context = weir.default_context()
    for index, most in [(slice(16, 32), 2**20), ((slice(None, 64), slice(0, 512)), 2**21)]:
        before = context.counters()
        got = file.get_slice("a")[index]
        after = context.counters()
        assert np.array_equal(got, data.reshape(rows, columns)[index])
        assert after["bytes_delivered"] - before["bytes_delivered"] == got.nbytes
        assert after["bytes_requested"] - before["bytes_requested"] <= most


def test_packed_elements_are_cut_between_bytes(tmp_path):
    content = files.write(tmp_path / "m", {"a": ("F4", (4, 8)), "b": ("F6_E2M3", (4, 8))})
    file = safe_open(tmp_path / "m", "np")
    packed = np.frombuffer(content["a"], np.uint8).reshape(4, 4)
    assert file.get_slice("a").get_shape() == [4, 8]
    assert np.array_equal(file.get_slice("a")[1:3, 2:6], packed[1:3, 1:3])
    assert np.array_equal(file.get_slice("a")[::2], packed[::2])
    assert np.array_equal(file.get_slice("b")[2], np.frombuffer(content["b"], np.uint8)[12:18])
    for index in [(0, 1), (slice(None), slice(1, 3)), (slice(None), slice(0, 8, 2))]:
        with pytest.raises(weir.ArgumentError, match="byte boundary"):
            file.get_slice("a")[index]


# ---- Prefetch ----


def test_prefetch_hands_out_each_tensor_once(small):
    file = safe_open(small.path, "np")
    loader = file.prefetch({"b": None, "a": slice(8, 16), "c": None})
    assert loader.names() == ["a", "b", "c"] and len(loader) == 3
    assert loader.take("b").tobytes() == small.content["b"]
    with pytest.raises(weir.ArgumentError, match="taken"):
        loader.take("b")
    with pytest.raises(weir.ArgumentError, match="not in the prefetch plan"):
        loader.take("empty")
    rest = dict(loader)
    assert set(rest) == {"a", "c"} and list(loader) == []
    assert rest["a"].tobytes() == small.content["a"][8 * 128 : 16 * 128]


def test_prefetch_of_everything(small):
    with safe_open(small.path, "np").prefetch() as loader:
        got = {name: array.tobytes() for name, array in loader}
    assert got == small.content


def test_prefetch_refuses_a_bad_plan_before_it_reads(small):
    file = safe_open(small.path, "np")
    before = weir.default_context().counters()["extents"]
    for plan in ({"nope": None}, {"a": slice(0, 8, 2)}, {"c": slice(0, 1)}, {"a": 1}):
        with pytest.raises(weir.ArgumentError):
            file.prefetch(plan)
    with pytest.raises(TypeError):
        file.prefetch(["a"])
    with pytest.raises(weir.ArgumentError):
        file.prefetch(threads=0)
    assert weir.default_context().counters()["extents"] == before


def test_prefetch_closed_early(small):
    loader = safe_open(small.path, "np").prefetch()
    kept = loader.take("a")
    loader.close()
    loader.close()
    assert kept.tobytes() == small.content["a"]
    with pytest.raises(weir.Error):
        loader.take("b")
    assert list(loader) == []


def test_prefetch_tells_which_tensor_failed(tmp_path):
    path = tmp_path / "m"
    files.write(path, {"a": ("U8", (4096,)), "b": ("U8", (2**20,))})
    file = safe_open(path, "np")
    os.truncate(path, 64 * 1024)
    loader = file.prefetch()
    with pytest.raises(weir.Error) as caught:
        loader.take("b")
    assert caught.value.code in ("TRUNCATED", "CHANGED")


def test_prefetch_shared_by_threads(tmp_path):
    names = [f"t{n}" for n in range(200)]
    content = files.write(tmp_path / "m", {name: ("U8", (5000,)) for name in names})
    loader = safe_open(tmp_path / "m", "np").prefetch()
    wrong = []

    def work(part):
        for name in part:
            if loader.take(name).tobytes() != content[name]:
                wrong.append(name)

    run_threads([lambda n=n: work(names[n::8]) for n in range(8)])
    assert not wrong and list(loader) == []


# ---- Threads, processes, life times ----


def run_threads(jobs):
    failures = []

    def guarded(job):
        try:
            job()
        except BaseException as error:  # noqa: BLE001 - it is raised below
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    if failures:
        raise failures[0]


def test_one_handle_and_eight_threads(small):
    file = safe_open(small.path, "np")
    whole = as_array(small.content["a"])

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(60):
            start, stop = sorted(rng.integers(0, 64, 2))
            assert file.get_slice("a")[start:stop].tobytes() == whole[start:stop].tobytes()
            assert file.get_tensor("b").tobytes() == small.content["b"]

    run_threads([lambda seed=seed: work(seed) for seed in range(8)])


def test_closing_while_others_read(small):
    file = safe_open(small.path, "np")

    def read():
        for _ in range(200):
            try:
                assert file.get_tensor("a").tobytes() == small.content["a"]
            except weir.Closed:
                return

    run_threads([read, read, read, lambda: file.__exit__(None, None, None)])


def in_child(function):
    """Runs it in a forked child; what it raised, or None."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            function()
            said = b""
        except BaseException as error:  # noqa: BLE001 - it is told to the parent
            said = repr(error).encode()
        os.write(write_end, said)
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        said = pipe.read().decode()
    assert os.waitpid(pid, 0)[1] == 0
    return said


def test_C_36_a_forked_child_opens_its_own(small):
    file = safe_open(small.path, "np")
    kept = file.get_tensor("a")

    def child():
        with pytest.raises(weir.Closed):
            file.get_tensor("a")
        assert kept.tobytes() == small.content["a"]
        with safe_open(small.path, "np") as own:
            assert own.get_tensor("b").tobytes() == small.content["b"]

    assert in_child(child) == ""
    assert file.get_tensor("b").tobytes() == small.content["b"]


def test_C_52_tensors_outlive_everything(small):
    file = safe_open(small.path, "np")
    loader = file.prefetch()
    part, whole, loaded = file.get_slice("a")[3:5], file.get_tensor("a"), loader.take("b")
    loader.close()
    file.__exit__(None, None, None)
    del file, loader
    gc.collect()
    weir.default_context().trim()
    assert whole.tobytes() == small.content["a"]
    assert part.tobytes() == small.content["a"][3 * 128 : 5 * 128]
    assert loaded.tobytes() == small.content["b"]


def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_C_52_memory_goes_with_the_last_tensor(tmp_path):
    size = 64 << 20
    files.write(tmp_path / "m", {"a": ("U8", (size,)), "b": ("U8", (16,))})
    file = safe_open(tmp_path / "m", "np")
    start = resident()
    tensors = file.get_tensors()
    assert resident() - start > size // 2
    kept = tensors.pop("b")
    del tensors
    gc.collect()
    assert resident() - start < size // 2, "a tensor of 16 bytes keeps the large one's memory"
    assert kept.nbytes == 16
