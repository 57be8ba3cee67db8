# SPDX-License-Identifier: Apache-2.0
"""weir.load(): all, some and parts of a model, into weir's memory, NumPy's and the caller's."""

import ast
import pathlib
import sys

import files
import numpy as np
import pytest

import weir


@pytest.mark.parametrize("framework", [None, "numpy"])
def test_all_tensors_bit_for_bit(small, framework):
    tensors = weir.load(small.path, framework=framework)
    assert list(tensors) == list(weir.open(small.path))
    for name, array in tensors.items():
        assert array.tobytes() == small.content[name]
        assert array.shape == small.tensors[name][1]
        assert array.flags.aligned and array.flags.writeable
    assert tensors["a"].dtype == np.float32


def test_some_tensors_in_the_order_asked_for(small):
    assert list(weir.load(small.path, names=["c", "a"])) == ["c", "a"]


def test_PR_29_arrays_outlive_their_model(small):
    model = weir.open(small.path)
    array = weir.load(model)["a"]
    model.close()
    del model
    assert array.tobytes() == small.content["a"]


def test_arrays_look_at_weirs_memory(small):
    base = weir.load(small.path)["a"]
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(getattr(base, "obj", base), weir.Buffer)


def test_an_unknown_name_is_a_key_error(small):
    with pytest.raises(KeyError):
        weir.load(small.path, names=["z"])


def test_type_checkers_see_each_public_name():
    top = ast.parse(pathlib.Path(weir.__file__).read_text()).body
    nodes = [*top, *(node for block in top if isinstance(block, ast.If) for node in block.body)]
    seen = {alias.asname or alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert set(weir.__all__) <= seen


def test_a_text_is_no_list_of_names(small):
    with pytest.raises(weir.ArgumentError, match="list of names"):
        weir.load(small.path, names="ab")


def test_a_device_without_a_framework_is_one_of_weirs(small):
    """Of CUDA, or the host: tests/python/test_cuda.py has those that are there."""
    for call in (weir.load, weir.stream):
        with pytest.raises(weir.ArgumentError, match="without a framework"):
            call(small.path, device="mps")
    assert list(weir.load(small.path, device="cpu")) == list(small.tensors)


def test_an_unknown_framework_is_named(small):
    with pytest.raises(weir.ArgumentError, match="abacus"):
        weir.load(small.path, framework="abacus")


def test_a_type_that_numpy_lacks_is_refused_before_anything_is_read(tmp_path, monkeypatch):
    files.write(tmp_path / "m.safetensors", {"x": ("BF16", (4,))})
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    from weir.frameworks import numpy

    numpy._extension.cache_clear()
    with pytest.raises(weir.Unsupported, match="BF16.*ml_dtypes"):
        weir.load(tmp_path / "m.safetensors")


# ---- Parts ----


@pytest.mark.parametrize(
    ("cut", "index"),
    [
        ((0, 3, 9), np.s_[3:9]),
        ([(0, 1, 5), (1, 30, 32)], np.s_[1:5, 30:32]),
        (np.s_[:, 5:6], np.s_[:, 5:6]),
        (np.s_[..., -3:], np.s_[..., -3:]),
        (np.s_[7], np.s_[7]),
        ((1, 4, 4), np.s_[:, 4:4]),
        (np.s_[:], np.s_[:]),
    ],
)
def test_slices_are_what_numpy_makes_of_them(small, cut, index):
    whole = np.frombuffer(small.content["a"], "f4").reshape(64, 32)
    array = weir.load(small.path, names=["a"], slices={"a": cut})["a"]
    np.testing.assert_array_equal(array, whole[index])
    assert array.shape == whole[index].shape


def test_only_the_bytes_of_a_slice_are_delivered(small):
    plan = weir.Plan()
    plan.tensor(weir.open(small.path), "a", slices=(0, 0, 2))
    assert plan.nbytes == 2 * 32 * 4


@pytest.mark.parametrize("cut", [(2, 0, 1), (0, 5, 65), (0, 6, 5), np.s_[::2], "x", [(0, 1)]])
def test_a_slice_that_is_none_is_refused(small, cut):
    with pytest.raises((weir.ArgumentError, ValueError, TypeError)):
        weir.load(small.path, slices={"a": cut})


def test_a_slice_of_what_is_not_loaded_is_refused(small):
    with pytest.raises(weir.ArgumentError, match="not loaded"):
        weir.load(small.path, names=["b"], slices={"a": (0, 0, 1)})


# ---- The caller's memory ----


def test_into_memory_of_the_callers(small):
    mine = np.zeros((64, 32), "f4")
    raw = bytearray(100_000)
    tensors = weir.load(small.path, out={"a": mine, "große": raw})
    assert tensors["a"] is mine and tensors["große"] is raw
    assert mine.tobytes() == small.content["a"] and bytes(raw) == small.content["große"]


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((32, 64), "f4"),
        np.zeros((64, 32), "f8"),
        np.zeros((64, 64), "f4")[:, ::2],
        b"x" * 8192,
        bytearray(10),
        "text",
        (0, 8192),
    ],
)
def test_memory_that_does_not_fit_is_refused(small, wrong):
    with pytest.raises((weir.ArgumentError, ValueError, TypeError, BufferError)):
        weir.load(small.path, names=["a"], out={"a": wrong})


def test_memory_is_let_go_when_the_load_has_ended(small):
    mine = np.zeros((64, 32), "f4")
    before = sys.getrefcount(mine)
    for _ in range(10):
        weir.load(small.path, names=["a"], out={"a": mine})
    assert sys.getrefcount(mine) == before


def test_memory_of_a_device_needs_its_driver(small):
    plan = weir._native.Plan()
    plan.tensor(weir.open(small.path), "a", into=(4096, 8192, None, 0, 0))
    with pytest.raises((weir.Unsupported, weir.ArgumentError)):
        plan.start().finish()


# ---- Plans ----


def test_a_plan_reads_several_models_and_files_at_once(small, tmp_path):
    other = tmp_path / "other.safetensors"
    content = files.write(other, {"a": ("F32", (8,))})
    plan = weir.Plan()
    plan.tensors(weir.open(small.path))
    plan.tensor(weir.open(other), "a", tag=("other", "a"))
    plan.range(other, 0, 8, tag="head")
    assert len(plan) == len(small.tensors) + 2
    arrays = plan.run()
    assert arrays["a"].tobytes() == small.content["a"]
    assert arrays["other", "a"].tobytes() == content["a"]
    assert arrays["head"].tobytes() == other.read_bytes()[:8]


def test_a_plan_runs_once(small):
    plan = weir.Plan()
    plan.tensor(weir.open(small.path), "a")
    plan.run()
    with pytest.raises(weir.Closed):
        plan.run()


def test_a_plan_of_nothing_is_a_dict_of_nothing(small):
    assert weir.Plan().run() == {}
    assert weir.load(small.path, names=[]) == {}


def test_two_parts_of_one_name_are_refused(small):
    plan = weir.Plan()
    model = weir.open(small.path)
    plan.tensor(model, "a")
    with pytest.raises(weir.ArgumentError, match="two parts"):
        plan.tensor(model, "a")


def test_a_range_past_the_end_is_truncated(small):
    plan = weir.Plan()
    plan.range(small.path, small.path.stat().st_size - 4, 8)
    with pytest.raises(weir.ContentError) as caught:
        plan.run()
    assert caught.value.code == "TRUNCATED"


# ---- Streams ----


@pytest.mark.parametrize("framework", [None, "numpy"])
@pytest.mark.parametrize("borrow", [False, True])
def test_a_stream_brings_all_within_its_budget(tmp_path, framework, borrow):
    path = tmp_path / "m.safetensors"
    content = files.write(path, {f"t{n}": ("U8", (1 << 20,)) for n in range(20)})
    seen = {}
    for name, array in weir.stream(path, framework=framework, budget="4MiB", borrow=borrow):
        seen[name] = array.tobytes() == content[name]
        del array
    assert len(seen) == 20 and all(seen.values())


def test_a_stream_that_is_left_early_lets_go(small):
    model = weir.open(small.path)
    for _ in weir.stream(model):
        break
    for _ in weir.stream(model, framework="numpy", budget=1):
        break
    weir.stream(model)
    assert weir.load(model)["a"].tobytes() == small.content["a"]


def test_a_stream_whose_arrays_are_kept_says_why_it_stands(tmp_path):
    path = tmp_path / "m.safetensors"
    files.write(path, {f"t{n}": ("U8", (1 << 20,)) for n in range(20)})
    plan = weir.Plan()
    plan.tensors(weir.open(path))
    kept = []
    with pytest.raises(weir.Timeout):
        for pair in plan.start(budget="4MiB", stall=0.2):
            kept.append(pair)
    assert kept


@pytest.mark.parametrize("size", ["2 kg", "", -1, 1.5, "GiB"])
def test_a_budget_is_a_number_of_bytes(small, size):
    with pytest.raises(weir.ArgumentError):
        weir.load(small.path, budget=size)
