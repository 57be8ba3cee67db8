# SPDX-License-Identifier: Apache-2.0
"""What the plug-in has to do on an old fastsafetensors: fst_old.py VERSION FOLDER

Run by peers_fastsafetensors_old.py; prints a word for each thing that was right.
"""

import json
import os
import sys

import fastsafetensors
from fastsafetensors import AutoLoader, SafeTensorsMetadata, SingleGroup
from fastsafetensors.copier.base import CopierInterface
from fastsafetensors.copier.registry import create_copier_constructor
from fastsafetensors.frameworks import get_framework_op
from fastsafetensors.st_types import Device
from fst_lib import GIB16, assert_equal, reference, write_model

import weir.fastsafetensors as plugin

FRAMEWORK = get_framework_op("pytorch")


def copier(paths):
    """As that release drives it: no owner, and what its base class lacks does no harm."""
    assert not hasattr(CopierInterface, "enable_tensor_readiness")
    construct = create_copier_constructor("weir", Device.from_str("cpu"))
    made = construct(
        SafeTensorsMetadata.from_file(paths[0], FRAMEWORK), Device.from_str("cpu"), FRAMEWORK
    )
    made.set_byte_ranges(None)
    buffer = made.submit_io(True, GIB16)
    found = {name: tensor.get_raw().clone() for name, tensor in made.wait_io(buffer).items()}
    made.finish_io()
    FRAMEWORK.free_tensor_memory(buffer, Device.from_str("cpu"))
    assert_equal(found, reference(paths[:1]))


def loader(paths):
    """Two files at once."""
    made = plugin.WeirLoader(SingleGroup(), "cpu")
    made.add_filenames({0: paths})
    buffers = made.copy_files_to_device()
    whole = reference(paths)
    assert_equal({name: buffers.get_tensor(name).clone() for name in whole}, whole)
    buffers.close()
    made.close()
    assert FRAMEWORK.get_mem_used() == 0


def failure(paths):
    """A file that is gone: an error, and what was under way is over when it comes."""
    made = plugin.WeirLoader(SingleGroup(), "cpu")
    made.add_filenames({0: paths})
    os.rename(paths[1], paths[1] + ".away")
    try:
        made.copy_files_to_device()
    except FileNotFoundError:
        return
    finally:
        os.rename(paths[1] + ".away", paths[1])
        made.close()
    raise AssertionError("no error")


def pipeline(paths):
    """The pipeline, also under the name 3fs."""
    made = plugin.ParallelWeirLoader(SingleGroup(), paths, use_tqdm_on_load=False)
    assert_equal(dict(made.iterate_weights()), reference(paths))
    made.close()
    try:
        plugin.ParallelWeirLoader(SingleGroup(), paths, borrowed_tensors=True)
    except TypeError:
        return
    raise AssertionError("an argument that this release lacks was taken")


def auto(paths, **config):
    """A configuration file."""
    path = os.path.join(os.path.dirname(paths[0]), "config.json")
    for name in ("weir", "3fs"):
        with open(path, "w") as file:
            json.dump({"loader": name, "3fs": {"mount_point": "/"}, **config}, file)
        os.environ["FASTSAFETENSORS_CONFIG"] = path
        made = AutoLoader(SingleGroup(), paths)
        assert_equal(dict(made.iterate_weights()), reference(paths))
        made.close()


def budget(paths):
    """Chunks."""
    auto(paths, max_batch_bytes=4 << 20)
    auto(paths, max_batch_bytes=4 << 20, use_chunk_budget_as_allocation_size=True)
    auto(paths, device_memory_budget=24 << 20)


def main():
    """All that this release can do."""
    version, folder = sys.argv[1:]
    assert version in os.path.dirname(os.path.dirname(fastsafetensors.__file__))
    paths = write_model(folder)
    plugin.register(replace_3fs=True)
    for step in [copier, loader, failure, pipeline, auto] + [budget] * hasattr(
        CopierInterface, "set_chunk"
    ):
        step(paths)
        print(step.__name__)


main()
