# SPDX-License-Identifier: Apache-2.0
"""weir.open(): what a model says of itself, and how it refuses."""

import pickle

import files
import pytest

import weir


def test_a_model_is_a_mapping_of_names(small):
    model = weir.open(small.path)
    assert set(model) == set(model.names) == set(small.tensors)
    assert len(model) == len(small.tensors)
    assert "a" in model and "z" not in model
    assert model.format == "safetensors"
    assert dict(model.tensors) == {name: model[name] for name in model}


def test_a_tensor_has_type_shape_and_place(small):
    model = weir.open(str(small.path))
    raw = small.path.read_bytes()
    for name, (dtype, shape) in small.tensors.items():
        info = model[name]
        assert (info.name, info.dtype, info.shape, info.shard) == (name, dtype, shape, 0)
        assert raw[info.offset : info.offset + info.nbytes] == small.content[name]


def test_metadata_and_shards(small):
    model = weir.open(small.path)
    (shard,) = model.shards
    assert model.metadata == shard.metadata == {"format": "pt", "who": "tests"}
    assert shard.nbytes == small.path.stat().st_size
    assert (shard.format, shard.tensors) == ("safetensors", len(small.tensors))
    assert model.warnings == []


def test_several_files_are_one_model(tmp_path):
    paths = [tmp_path / f"part-{n}.safetensors" for n in range(3)]
    for number, path in enumerate(paths):
        files.write(path, {f"t{number}": ("F32", (number + 1,))})
    for source in (paths, tuple(map(str, paths)), tmp_path):
        model = weir.open(source)
        assert sorted(model) == ["t0", "t1", "t2"]
        assert [model[f"t{n}"].nbytes for n in range(3)] == [4, 8, 12]


def test_an_unknown_name_is_a_key_error(small):
    with pytest.raises(KeyError):
        weir.open(small.path)["z"]
    with pytest.raises(KeyError):
        weir.open(small.path).index("z")


def test_a_missing_file_is_found_missing(tmp_path):
    path = tmp_path / "none.safetensors"
    with pytest.raises(FileNotFoundError) as caught:
        weir.open(path)
    error = caught.value
    assert isinstance(error, (weir.Error, OSError, RuntimeError))
    assert (error.code, error.errno) == ("NOTFOUND", 2)
    assert str(path) in error.object and str(path) in str(error)


def test_bad_content_is_a_value_error(tmp_path):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(b"\x10\0\0\0\0\0\0\0not a header....")
    with pytest.raises(weir.ContentError) as caught:
        weir.open(path)
    assert isinstance(caught.value, (ValueError, OSError, RuntimeError))
    assert caught.value.code == "H_JSON"
    assert caught.value.offset is not None


def test_PR_29_errors_travel_and_handles_do_not(small, tmp_path):
    with pytest.raises(weir.NotFound) as caught:
        weir.open(tmp_path / "none")
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is weir.NotFound
    assert (str(again), again.object) == (str(caught.value), caught.value.object)
    with pytest.raises(TypeError):
        pickle.dumps(weir.open(small.path))


def test_a_closed_model_says_so(small):
    with weir.open(small.path) as model:
        info = model["a"]
    assert model.closed and info.shape == (64, 32)
    with pytest.raises(weir.Closed):
        len(model)
    with pytest.raises(weir.Closed):
        weir.load(model)


@pytest.mark.parametrize("arguments", [{"direct": "maybe"}, {"cache": "yes"}])
def test_words_are_checked(small, arguments):
    with pytest.raises(weir.ArgumentError):
        weir.open(small.path, **arguments)


def test_wrong_types_are_type_errors(small):
    with pytest.raises(TypeError):
        weir.open(3.5)
    with pytest.raises(TypeError):
        weir.open(small.path, context="x")
    with pytest.raises(ValueError):
        weir.open(small.path, timeout=-1)
