# SPDX-License-Identifier: Apache-2.0
"""The same budgets with PyTorch's memory and JAX's."""

import pytest
from budgets import BUDGET, EACH, MIB, Keeps, Meter, Reads, complete, written


@pytest.fixture
def path(tmp_path):
    return written(tmp_path / "m.safetensors")


def meter_of(monkeypatch, framework):
    module = pytest.importorskip(f"weir.frameworks.{framework}")
    return Meter(monkeypatch, module.Adapter)


@EACH
@pytest.mark.parametrize("drops", [True, False])
@pytest.mark.parametrize("framework, borrow", [("torch", False), ("jax", False), ("jax", True)])
def test_arrays_stay_within_the_budget(path, monkeypatch, stream, drops, framework, borrow):
    meter, use = meter_of(monkeypatch, framework), Reads(drops)
    stream(use, path, framework=framework, borrow=borrow)
    assert complete(use.seen)
    assert 2 * MIB <= meter.most <= BUDGET


@EACH
def test_a_part_of_a_tensor_keeps_its_storage(path, monkeypatch, stream):
    meter, use = meter_of(monkeypatch, "torch"), Keeps()
    stream(use, path, framework="torch", borrow=False)
    assert len(use.seen) == 24 and meter.now == 24 * MIB


@EACH
def test_borrowed_tensors_take_no_memory_of_torch(path, monkeypatch, stream):
    meter, use = meter_of(monkeypatch, "torch"), Reads(True)
    stream(use, path, framework="torch", borrow=True)
    assert len(use.seen) == 24 and meter.most == 0
