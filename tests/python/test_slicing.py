# SPDX-License-Identifier: Apache-2.0
"""What index expressions ask of a file (weir/slicing.py); no file is needed."""

import random

import numpy as np
import pytest

from weir import slicing


class Refused(Exception):
    pass


def refuse(message):
    raise Refused(message)


def apply(array, cut):
    part = array[tuple(slice(start, stop) for start, stop in cut.box)]
    return part.reshape(cut.shape) if cut.after is None else part[cut.after]


SHAPES = [(), (1,), (5,), (0,), (3, 4), (4, 0), (2, 3, 4), (7, 2, 1), (2, 2, 2, 2)]
ALL = slice(None)


def random_item(rng, size):
    if rng.random() < 0.3 and size:
        return rng.randrange(-size, size)
    start, stop = rng.randint(0, max(size - 1, 0)), rng.randint(0, size)
    start, stop = min(start, stop), max(start, stop)
    return slice(rng.choice([None, start]), rng.choice([None, stop]), rng.choice([None, 1, 2, 3]))


def random_index(rng, shape):
    items = [random_item(rng, size) for size in shape[: rng.randint(0, len(shape))]]
    if rng.random() < 0.3 and len(items) < len(shape):
        items.append(...)
    return tuple(items)


@pytest.mark.parametrize("rules", ["strict", "lenient"])
def test_a_cut_says_what_numpy_says(rules):
    rng = random.Random(11)
    checked = 0
    for _ in range(4000):
        shape = rng.choice(SHAPES)
        array = np.arange(int(np.prod(shape))).reshape(shape)
        index = random_index(rng, shape)
        try:
            cut = slicing.strict(index, shape, refuse) if rules == "strict" else None
        except Refused:
            continue  # dimensions of size 0 are refused by strict rules
        cut = cut or slicing.lenient(index, shape)
        assert np.array_equal(apply(array, cut), array[index]), index
        assert apply(array, cut).shape == array[index].shape
        checked += 1
    assert checked > 2000


def test_boxes_are_no_larger_than_they_must_be():
    assert slicing.strict((1, slice(2, 4)), (3, 9, 5), refuse).box == ((1, 2), (2, 4), (0, 5))
    assert slicing.strict(slice(1, 9, 4), (10,), refuse).box == ((1, 6),)
    assert slicing.lenient((..., -1), (3, 9)).box == ((0, 3), (8, 9))
    assert slicing.dims_of(((0, 3), (8, 9)), (3, 9)) == ((1, 8, 9),)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (3, "Error during slicing [3] with shape [3, 4]: index 3 out of bounds for tensor "
            "dimension #0 of size 3"),
        (-4, "Invalid index -4 for dimension 0 of size 3"),
        (slice(0, 5), "Error during slicing [0:5] with shape [3, 4]: index 4 out of bounds for "
                      "tensor dimension #0 of size 3"),
        (slice(3, 3), "Error during slicing [3:3] with shape [3, 4]: index 3 out of bounds for "
                      "tensor dimension #0 of size 3"),
        ((0, 0, 0), "Error during slicing [0, 0, 0] with shape [3, 4]: more slicing indexes than "
                    "dimensions in tensor"),
        ((..., ...), "Only one ellipsis (...) is allowed in slice index"),
        (slice(None, None, -1), "Slice step must be a positive integer, got -1"),
        ([0], "Non empty lists are not implemented"),
        (None, "Unsupported slice index at position 0: expected slice, int, or ellipsis"),
        (1.5, "Unsupported slice index at position 0: expected slice, int, or ellipsis"),
        (2**31, "Unsupported slice index at position 0: expected slice, int, or ellipsis"),
    ],
)  # fmt: skip
def test_strict_refusals_in_words(index, message):
    with pytest.raises(Refused) as caught:
        slicing.strict(index, (3, 4), refuse)
    assert str(caught.value) == message


def test_strict_bounds_have_no_sign():
    with pytest.raises(OverflowError):
        slicing.strict(slice(-1, None), (3,), refuse)
    with pytest.raises(OverflowError):
        slicing.strict(slice(0, 2**64), (3,), refuse)
    with pytest.raises(TypeError):
        slicing.strict(slice(0.5, 1), (3,), refuse)


@pytest.mark.parametrize("index", [[0], True, 3, (0, 0, 0), "x", np.array([0]), (..., ...), 1.0])
def test_lenient_leaves_the_rest_to_others(index):
    assert slicing.lenient(index, (3, 4)) is None


def test_lenient_adds_dimensions_and_clamps():
    array = np.arange(12).reshape(3, 4)
    plain = [None, (0, None), (None, ..., slice(1, 99)), slice(-2, None), slice(9, 3), np.int64(1)]
    for index in plain:
        got = apply(array, slicing.lenient(index, (3, 4)))
        assert np.array_equal(got, array[index])
        assert got.shape == array[index].shape
