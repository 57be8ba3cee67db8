# SPDX-License-Identifier: Apache-2.0
"""weir.load() to NumPy."""

import numpy as np
import pytest

import weir


def test_all_tensors_bit_for_bit(small):
    tensors = weir.load(small.path)
    assert set(tensors) == set(small.tensors)
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


def test_an_unknown_framework_is_named(small):
    with pytest.raises(weir.ArgumentError, match="abacus"):
        weir.load(small.path, framework="abacus")
