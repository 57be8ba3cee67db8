# SPDX-License-Identifier: Apache-2.0
"""vLLM's load format `weir`.

vLLM is large and seldom installed beside us, so most of this runs against a stand-in for its
registry, written for these tests: the published names, the published duties (a subclass of
BaseModelLoader, constructed with the load config, asked for load_weights). What does not fit the
real module shows where that is installed."""

import os
import sys
import types
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from fst_lib import assert_equal, delivered, reference, same, write_model

import weir
import weir.vllm as plugin


@dataclass
class LoadConfig:
    """What the plug-in reads of vLLM's."""

    load_format: str = "weir"
    model_loader_extra_config: object = field(default_factory=dict)
    download_dir: str | None = None
    ignore_patterns: tuple = ()
    use_tqdm_on_load: bool = False


class Model(torch.nn.Module):
    """Takes what it is given, as models with weight loaders do: each rank narrows for itself."""

    def __init__(self, rank=0, ranks=1, **attributes):
        super().__init__()
        self.rank, self.ranks, self.loaded = rank, ranks, {}
        for name, value in attributes.items():
            setattr(self, name, value)

    def load_weights(self, weights):
        for name, tensor in weights:
            if name.endswith("attn.weight") and self.ranks > 1:
                share = tensor.shape[0] // self.ranks
                tensor = tensor.narrow(0, self.rank * share, share)
            self.loaded[name] = tensor.clone()
        return set(self.loaded)


@pytest.fixture
def vllm(monkeypatch):
    """A stand-in for the parts of vLLM that its plug-ins are told to use."""

    class BaseModelLoader:
        def __init__(self, load_config):
            self.load_config = load_config

    registry = {}

    def register_model_loader(load_format):
        def register(loader):
            assert issubclass(loader, BaseModelLoader)
            registry[load_format] = loader
            return loader

        return register

    group = SimpleNamespace(rank=0, size=1)
    modules = {
        "vllm": {},
        "vllm.distributed": {
            "get_tensor_model_parallel_rank": lambda: group.rank,
            "get_tensor_model_parallel_world_size": lambda: group.size,
        },
        "vllm.model_executor": {},
        "vllm.model_executor.model_loader": {"register_model_loader": register_model_loader},
        "vllm.model_executor.model_loader.base_loader": {"BaseModelLoader": BaseModelLoader},
        "vllm.model_executor.model_loader.weight_utils": {},
    }
    for name, content in modules.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
        if "." in name:
            setattr(sys.modules[name.rpartition(".")[0]], name.rpartition(".")[2], module)
    plugin.loader_class.cache_clear()
    plugin.register.cache_clear()
    yield SimpleNamespace(
        registry=registry,
        group=group,
        utils=sys.modules["vllm.model_executor.model_loader.weight_utils"],
    )
    plugin.loader_class.cache_clear()
    plugin.register.cache_clear()


@pytest.fixture
def paths(tmp_path):
    """A model of two files."""
    return write_model(str(tmp_path))


def load(vllm, path, model=None, **extra):
    """The model's weights after a load as vLLM does it."""
    plugin.register()
    config = LoadConfig(model_loader_extra_config=extra)
    loader = vllm.registry["weir"](config)
    model = model or Model()
    loader.load_weights(model, SimpleNamespace(model=str(path), revision=None))
    return model.loaded


# ---- The registry ----


def test_importing_the_plug_in_imports_neither_vllm_nor_torch():
    code = "import sys, weir.vllm; print(sorted({'vllm', 'torch'} & set(sys.modules)))"
    import subprocess

    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_the_format_is_registered_once(vllm):
    plugin.register()
    plugin.register()
    assert list(vllm.registry) == ["weir"]


def test_a_vllm_without_a_registry_starts_all_the_same(vllm, monkeypatch, caplog):
    del sys.modules["vllm.model_executor.model_loader"].register_model_loader
    plugin.register()
    assert vllm.registry == {} and "no load format weir" in caplog.text


def test_with_the_real_registry():
    pytest.importorskip("vllm.model_executor.model_loader")
    from vllm.config.load import LoadConfig as Config
    from vllm.model_executor.model_loader import get_model_loader

    plugin.register()
    loader = get_model_loader(
        Config(load_format="weir", model_loader_extra_config={"budget": "1GiB"})
    )
    assert type(loader) is plugin.loader_class()


# ---- Options ----


@pytest.mark.parametrize(
    "extra, words",
    [
        ("budget=1", "dictionary"),
        ({"bugdet": 1}, "bugdet"),
        ({"budget": "much"}, "budget"),
        ({"budget": -1}, "budget"),
        ({"budget": True}, "budget"),
        ({"names": 5}, "names"),
        ({"names": [""]}, "names"),
        ({"skip": [1]}, "skip"),
        ({"slices": ["a"]}, "slices"),
        ({"slices": {"a": -1}}, "slices"),
        ({"slices": {"a": True}}, "slices"),
        ({"device": "tpu"}, "device"),
        ({"device": 0}, "device"),
        ({"cache": "full"}, "cache"),
        ({"progress": "yes"}, "progress"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": "1s"}, "timeout"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(vllm, extra, words):
    plugin.register()
    with pytest.raises(ValueError, match=words):
        vllm.registry["weir"](LoadConfig(model_loader_extra_config=extra))


def test_options_as_they_are_read():
    options = plugin.Options.parse(
        {
            "budget": "2GiB",
            "names": "h.*",
            "skip": ["*.bias", "lm*"],
            "slices": {"*.w": 1},
            "device": "cuda",
            "progress": False,
            "timeout": 30,
        }
    )
    assert options.wants("h.0.w") and not options.wants("h.0.bias") and not options.wants("x")
    assert options.dimension("h.0.w") == 1 and options.dimension("h.0.v") is None
    assert plugin.Options.parse(None) == plugin.Options.parse({}) == plugin.Options()


# ---- Loads ----


def test_a_directory(vllm, paths, tmp_path):
    assert_equal(load(vllm, tmp_path), reference(paths))


def test_one_file(vllm, paths):
    assert_equal(load(vllm, paths[1]), reference(paths[1:]))


def test_a_uri(vllm, paths):
    assert_equal(load(vllm, "file://" + paths[0]), reference(paths[:1]))


def test_a_small_budget(vllm, paths, tmp_path):
    assert_equal(load(vllm, tmp_path, budget=4 << 20), reference(paths))


def test_a_model_that_keeps_all_tensors_before_it_takes_them(vllm, paths, tmp_path):
    class Keeper(Model):
        def load_weights(self, weights):
            return super().load_weights(list(weights))

    assert_equal(load(vllm, tmp_path, Keeper(), budget=4 << 20), reference(paths))


def test_the_index_says_which_files(vllm, paths, tmp_path):
    import json

    (tmp_path / plugin.INDEX).write_text(
        json.dumps(
            {"weight_map": {name: os.path.basename(paths[0]) for name in reference(paths[:1])}}
        )
    )
    assert_equal(load(vllm, tmp_path), reference(paths[:1]))


def test_names_and_skip_are_not_read(vllm, paths, tmp_path):
    before = delivered()
    found = load(vllm, tmp_path, names=["*.weight", "*.five"], skip="*.experts.*")
    wanted = {
        name: tensor
        for name, tensor in reference(paths).items()
        if (name.endswith(("weight", "five"))) and ".experts." not in name
    }
    assert_equal(found, wanted)
    assert delivered() - before == sum(tensor.nbytes for tensor in wanted.values())


def test_filters_that_leave_nothing_are_an_error(vllm, paths, tmp_path):
    with pytest.raises(ValueError, match="leave none"):
        load(vllm, tmp_path, names="nothing.*")


def test_what_the_model_says_it_does_not_use_is_not_read(vllm, paths, tmp_path):
    model = Model(is_unused_checkpoint_weight=lambda name: name.endswith("large"))
    found = load(vllm, tmp_path, model)
    assert_equal(found, {n: t for n, t in reference(paths).items() if not n.endswith("large")})


def test_secondary_weights_have_their_prefix(vllm, paths):
    second = SimpleNamespace(model_or_path=paths[1], revision=None, prefix="second.")
    found = load(vllm, paths[0], Model(secondary_weights=[second]))
    wanted = {
        **reference(paths[:1]),
        **{"second." + name: tensor for name, tensor in reference(paths[1:]).items()},
    }
    assert_equal(found, wanted)


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_a_rank_reads_its_part(vllm, paths, tmp_path, rank):
    vllm.group.rank, vllm.group.size = rank, 4
    before = delivered()
    found = load(vllm, tmp_path, Model(rank, 4), names="*.attn.weight", slices={"*.attn.weight": 0})
    whole = {n: t for n, t in reference(paths).items() if n.endswith("attn.weight")}
    assert sorted(found) == sorted(whole)
    for name, tensor in whole.items():
        assert same(found[name], tensor.chunk(4)[rank]), name
    assert delivered() - before == sum(tensor.nbytes for tensor in whole.values()) // 4


def test_a_part_of_another_dimension_stands_where_it_is_looked_for(vllm, paths, tmp_path):
    vllm.group.rank, vllm.group.size = 1, 3
    found = load(vllm, tmp_path, names="*.attn.weight", slices={"*": 1})
    for name, tensor in found.items():
        whole = reference(paths)[name]
        assert same(tensor[:, 16:32], whole[:, 16:32])
        assert not tensor[:, :16].any() and not tensor[:, 32:].any()


def test_what_ranks_cannot_share_evenly_is_read_whole(vllm, paths, tmp_path):
    vllm.group.rank, vllm.group.size = 2, 3
    assert_equal(
        load(vllm, tmp_path, names="*.five", slices={"*": 0}),
        {n: t for n, t in reference(paths).items() if n.endswith("five")},
    )


def test_a_model_that_is_nowhere(vllm, tmp_path):
    vllm.utils.download_weights_from_hf = lambda *args, **named: str(tmp_path)
    vllm.utils.download_safetensors_index_file_from_hf = lambda *args, **named: None
    with pytest.raises(RuntimeError, match="no safetensors files"):
        load(vllm, "org/model")


def test_a_model_that_has_to_be_fetched(vllm, paths, tmp_path):
    asked = []

    def download(*args, **named):
        asked.append((args, named))
        return str(tmp_path)

    vllm.utils.download_weights_from_hf = download
    vllm.utils.download_safetensors_index_file_from_hf = lambda *args, **named: None
    assert_equal(load(vllm, "org/model"), reference(paths))
    assert asked == [(("org/model", None, ["*.safetensors"], None), {"ignore_patterns": ()})]
    plugin.register()
    vllm.registry["weir"](LoadConfig()).download_model(
        SimpleNamespace(model="org/model", revision="r")
    )
    assert asked[1][0] == ("org/model", None, ["*.safetensors"], "r")


def test_a_broken_file_is_an_error_with_its_name(vllm, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    with pytest.raises(weir.Error, match="model.safetensors"):
        load(vllm, tmp_path)
