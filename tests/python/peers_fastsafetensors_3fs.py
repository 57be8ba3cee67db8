# SPDX-License-Identifier: Apache-2.0
"""fastsafetensors' own 3FS loaders, unmodified, over weir's fastsafetensor_3fs_reader."""

import contextlib
import gc
import os
import subprocess
import sys
import threading

import pytest

pytest.importorskip("torch")
fastsafetensors = pytest.importorskip("fastsafetensors")
import fst_lib  # noqa: F401  (finds the drop-in)

shim = pytest.importorskip("fastsafetensor_3fs_reader")

from fastsafetensors import SafeTensorsMetadata, SingleGroup
from fastsafetensors.copier import threefs
from fastsafetensors.frameworks import get_framework_op
from fastsafetensors.threefs_loader import ParallelThreeFSLoader, ThreeFSLoader
from fst_lib import (
    GIB16,
    assert_equal,
    configure,
    descriptors,
    reference,
    same,
    shared_memory,
    write_model,
)

FRAMEWORK = get_framework_op("pytorch")


@pytest.fixture
def paths(tmp_path):
    """A model of two files."""
    return write_model(str(tmp_path))


def weights_of(loader):
    """All that a loader yields."""
    with contextlib.closing(loader.iterate_weights()) as weights:
        found = dict(weights)
    loader.close()
    return found


@pytest.mark.parametrize("pipeline", [False, True])
def test_C_48_auto_loader_without_a_mount_point(paths, tmp_path, monkeypatch, pipeline):
    configure(
        monkeypatch,
        tmp_path,
        loader="3fs",
        parallel={"use_pipeline": pipeline, "use_tqdm_on_load": False},
    )
    assert_equal(weights_of(fastsafetensors.AutoLoader(SingleGroup(), paths)), reference(paths))


def test_C_51_header_tuples_feed_the_metadata(paths):
    with contextlib.closing(
        shim.ThreeFSFileReader(mount_point=os.path.dirname(paths[0]))
    ) as reader:
        headers = reader.read_headers_batch(paths)
    for path in paths:
        text, length, size = headers[path]
        ours = SafeTensorsMetadata(text, length, size, FRAMEWORK, path)
        theirs = SafeTensorsMetadata.from_file(path, FRAMEWORK)
        assert (ours.header_length, ours.size_bytes) == (theirs.header_length, theirs.size_bytes)
        assert ours.metadata == theirs.metadata
        assert ours.tensors == theirs.tensors


def test_C_49_a_short_file_and_then_a_good_one(paths):
    loader = ThreeFSLoader(None, mount_point=os.path.dirname(paths[0]))
    used = FRAMEWORK.get_mem_used()
    loader.add_filenames({0: paths[:1]})
    with open(paths[0], "rb") as file:
        kept = file.read()
    os.truncate(paths[0], len(kept) - 100)
    with pytest.raises(Exception, match="incomplete read"):
        loader.copy_files_to_device()
    with open(paths[0], "wb") as file:
        file.write(kept)
    buffers = loader.copy_files_to_device()
    assert same(buffers.get_tensor("s0.five"), reference(paths)["s0.five"])
    buffers.close()
    loader.close()
    assert FRAMEWORK.get_mem_used() >= used  # the short file's buffer is that package's own leak


def recording(log):
    """A reader's class that notes its calls and the thread each came on."""

    class Recorder(shim.ThreeFSFileReader):
        def __init__(self, *args, **named):
            log.append(("new", args, named, threading.get_ident()))
            super().__init__(*args, **named)

        def read_chunked(self, *args, **named):
            log.append(("read", args, named, threading.get_ident()))
            return super().read_chunked(*args, **named)

        def close(self):
            log.append(("close", (), {}, threading.get_ident()))
            super().close()

    return Recorder


def test_C_79_the_calls_that_a_reader_sees(paths, monkeypatch):
    log = []
    weights_of(ParallelThreeFSLoader(SingleGroup(), paths, use_tqdm_on_load=False))  # warm
    gc.collect()
    open_before, shared_before = descriptors(), shared_memory()
    monkeypatch.setattr(shim, "ThreeFSFileReader", recording(log))
    loader = ParallelThreeFSLoader(SingleGroup(), paths, use_tqdm_on_load=False)
    assert_equal(weights_of(loader), reference(paths))
    del loader
    gc.collect()
    kinds = [kind for kind, *_ in log]
    assert kinds == ["new", "read", "read"]
    assert all(args == () for _, args, _, _ in log)
    assert log[0][2] == {
        "mount_point": shim.extract_mount_point(paths[0]),
        "entries": 64,
        "io_depth": 0,
        "buffer_size": 67108864,
    }
    for (_, _, named, thread), path in zip(log[1:], paths, strict=True):
        metadata = SafeTensorsMetadata.from_file(path, FRAMEWORK)
        assert named.pop("dev_ptr") % 4096 == 0
        assert named == {
            "path": path,
            "file_offset": metadata.header_length,
            "chunk_size": GIB16,
            "total_length": metadata.size_bytes - metadata.header_length,
        }
        assert thread != threading.get_ident() == log[0][3]
    assert descriptors() == open_before
    assert shared_memory() == shared_before


def test_C_79_the_copier_finds_the_reader(paths):
    construct = threefs.new_threefs_file_copier(device=None, mount_point=os.path.dirname(paths[0]))
    assert isinstance(construct.reader, shim.ThreeFSFileReader)


@pytest.mark.parametrize("switch, expected", [("1", "WeirFileCopier"), ("0", "ThreeFSFileCopier")])
def test_the_switch_in_the_environment(paths, tmp_path, switch, expected):
    config = tmp_path / "config.json"
    config.write_text(
        '{"loader": "3fs", "max_batch_bytes": %s}' % ("4194304" if switch == "1" else "null")
    )
    code = """if True:
        import sys, fst_lib
        from fastsafetensors import AutoLoader
        loader = AutoLoader(None, sys.argv[1:])
        fst_lib.assert_equal(dict(loader.iterate_weights()), fst_lib.reference(sys.argv[1:]))
        print(loader._loader.copier_class.__name__)"""
    environment = {"FASTSAFETENSORS_CONFIG": str(config), "WEIR_FASTSAFETENSORS_3FS": switch}
    told = subprocess.check_output(
        [sys.executable, "-c", code, *paths], env={**os.environ, **environment}, text=True
    )
    assert told.split()[-1] == expected
