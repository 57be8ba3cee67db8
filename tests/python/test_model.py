# SPDX-License-Identifier: Apache-2.0
"""weir.open(): what a model says of itself, and how it refuses."""

import ast
import pickle
from pathlib import Path

import files
import pytest

import weir
from weir import _native


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


def test_the_stub_promises_what_the_types_have():
    """Each class of _native.pyi is there, with all that it names, and no more fields than it has."""
    tree = ast.parse((Path(__file__).parents[2] / "python" / "weir" / "_native.pyi").read_text(encoding="utf-8"))
    kinds = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    for kind in kinds:
        real, bases = getattr(_native, kind.name), [ast.unparse(base) for base in kind.bases]
        assert "NamedTuple" not in bases  # whose methods the native types have not
        for member in kind.body:
            name = getattr(member, "name", None) or ast.unparse(getattr(member, "target", member))
            assert hasattr(real, name) or name == "__buffer__", (kind.name, name)  # seen from Python 3.12 on
        if "structseq[Any]" in bases:
            fields = [member.name for member in kind.body if isinstance(member, ast.FunctionDef)]
            assert tuple(fields) == real.__match_args__ and len(fields) == real.n_fields
    assert sum(issubclass(getattr(_native, kind.name), tuple) for kind in kinds) == 4
