# SPDX-License-Identifier: Apache-2.0
"""Published programs on our client of 3FS: hf3fs_fuse/io.py, and the reader's Python backend."""

import os
import shutil
import subprocess
import sys

import pytest
from mounted import BUILD, CLIENT, DATA, TESTS, mount, python, shared_memory, wait_until  # noqa: F401

HERE = os.path.join(TESTS, "python")


def published(kind, name, version):
    command = [os.path.join(HERE, "published"), BUILD, kind, name, version]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def their_io(tmp_path_factory):
    """A folder with the published hf3fs_fuse and our native module, as one installs both."""
    source = published("source", "hf3fs-py-usrbio", "1.2.9")
    folder = tmp_path_factory.mktemp("theirs")
    shutil.copytree(os.path.join(source, "hf3fs_fuse"), folder / "hf3fs_fuse")
    shutil.copytree(os.path.join(CLIENT, "hf3fs_py_usrbio"), folder / "hf3fs_py_usrbio")
    return str(folder)


@pytest.fixture(scope="module")
def cuda(tmp_path_factory):
    """A folder with something that is taken for the CUDA runtime."""
    folder = tmp_path_factory.mktemp("cuda")
    library = folder / "libcudart.so"
    source = os.path.join(HERE, "cudart.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    return str(folder)


def path_of(*folders):
    return os.pathsep.join([*folders, os.path.join(BUILD, "python")])


def nothing_is_left(mount):  # noqa: F811
    return wait_until(lambda: mount.keys() == []) and shared_memory() == []


def test_C_75_the_published_io_on_our_native_module(mount, their_io, monkeypatch):  # noqa: F811
    script = """
        import gc, os, sys, hf3fs_fuse.io as io
        from multiprocessing.shared_memory import SharedMemory
        file, place = sys.argv[1:]
        assert io.__file__.startswith(place)
        with open(file, "rb") as source:
            data = source.read()
        mount = io.extract_mount_point(file)
        assert io.read_file(file) == data
        assert io.read_file(file, block_size=65536, off=77) == data[77:]
        blocks = []
        io.read_file(file, mount, 65536, cb=lambda view, at: blocks.append(bytes(view)))
        assert b"".join(blocks) == data

        shm = SharedMemory(create=True, size=1 << 20)
        iov, ring = io.make_iovec(shm, mount, 0, -1), io.make_ioring(mount, 100, False, 0)
        shm.unlink()
        fd = os.open(mount + "/copy", os.O_RDWR | os.O_CREAT)
        io.register_fd(fd)
        iov[: len(data)] = data
        ios = [(iov[at : min(at + 5000, len(data))], fd, at) for at in range(0, len(data), 5000)]
        for one in ios:
            ring.prepare(one[0], False, one[1], one[2], userdata=one)
        done = ring.submit().wait(min_results=len(ios))
        assert all(one.result == len(memoryview(one.userdata[0])) for one in done)
        io.force_fsync(fd)
        io.deregister_fd(fd)
        os.close(fd)
        assert io.read_file(mount + "/copy") == data
        del ios, one, done, iov, ring
        gc.collect()
        shm.close()
        print(len(os.listdir(mount + "/3fs-virt/iovs")))
    """
    monkeypatch.setenv("PYTHONPATH", path_of(their_io))
    assert python(script, mount.file, their_io) == "3\n"  # the bells
    assert nothing_is_left(mount)


def run_their_tests(mount, cuda, client, tmp_path):  # noqa: F811
    source = published("source", "fastsafetensor-3fs-reader", "0.3.3")
    wheel = published("wheel", "fastsafetensor-3fs-reader", "0.3.3")
    shutil.copytree(os.path.join(source, "tests"), tmp_path / "tests")
    os.mkdir(os.path.join(mount.point, "tmp"))
    environment = {
        **os.environ,
        "PYTHONPATH": path_of(wheel, client),
        "FASTSAFETENSORS_BACKEND": "python",
        "THREEFS_MOUNT_POINT": mount.point,
        "LD_LIBRARY_PATH": cuda,
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path / "tests"]
    command += [f"--rootdir={tmp_path}", f"--basetemp={mount.point}/tmp/pytest"]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=100, check=False
    )


@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_C_75_the_readers_own_tests_on_its_python_backend(mount, their_io, cuda, tmp_path, whose):  # noqa: F811
    run = run_their_tests(mount, cuda, CLIENT if whose == "ours" else their_io, tmp_path)
    assert run.returncode == 0, run.stdout[-3000:]
    assert "88 passed" in run.stdout and "skipped" not in run.stdout, run.stdout[-300:]
    assert nothing_is_left(mount)


def test_C_75_C_20_the_published_reader_reads_what_is_there(mount, cuda, monkeypatch):  # noqa: F811
    script = """
        import ctypes, random, sys
        import fastsafetensor_3fs_reader as package
        from fastsafetensor_3fs_reader.reader_py import check_library
        mount, file = sys.argv[1:]
        assert package.get_backend() == "python" and check_library()
        assert package.extract_mount_point(file) == mount
        with open(file, "rb") as source:
            data = source.read()
        chance = random.Random(5)
        for entries, size in ((1, 4096), (8, 65536), (64, 1 << 20)):
            reader = package.ThreeFSFileReader(mount, entries=entries, buffer_size=size)
            assert reader.iov_base
            for _ in range(20):
                at, length = chance.randrange(len(data)), chance.randrange(1, 100_000)
                room = bytearray(b"x" * (length + 10))
                address = ctypes.addressof(ctypes.c_char.from_buffer(room))
                right = data[at : at + length]
                assert reader.read_chunked(file, address, at, length) == len(right)
                assert room == right.ljust(length + 10, b"x")
            reader.close()
    """
    wheel = published("wheel", "fastsafetensor-3fs-reader", "0.3.3")
    monkeypatch.setenv("PYTHONPATH", path_of(wheel, CLIENT))
    monkeypatch.setenv("LD_LIBRARY_PATH", cuda)
    monkeypatch.setenv("FASTSAFETENSORS_BACKEND", "python")
    assert python(script, mount.point, mount.file) == ""
    assert nothing_is_left(mount)
