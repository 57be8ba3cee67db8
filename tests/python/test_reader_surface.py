# SPDX-License-Identifier: Apache-2.0
"""fastsafetensor_3fs_reader: names, signatures, backends, environment."""

import inspect
import os

import pytest
import reader_lib

import fastsafetensor_3fs_reader as package
from fastsafetensor_3fs_reader import interface, mock, reader_cpp, reader_py
from fastsafetensor_3fs_reader.cpp import _core_v2

NAMES = {
    "FileReaderInterface", "ThreeFSFileReader", "MockFileReader", "extract_mount_point",
    "get_hf3fs_lib_path", "is_available", "get_backend", "create_reader",
}  # fmt: skip
READERS = [reader_cpp.ThreeFSFileReaderCpp, reader_py.ThreeFSFileReaderPy, mock.MockFileReader]
MIB = 1 << 20


def parameters(function):
    return [(p.name, p.default) for p in inspect.signature(function).parameters.values() if p.name != "self"]


def test_C_01_names():
    assert set(package.__all__) == NAMES and len(package.__all__) == 8
    assert callable(package.preload_hf3fs_library) and callable(package.init_backend)
    assert package._lib_preload._LIB_NAME == "libhf3fs_api_shared.so"
    assert package._backend._BACKEND == package.get_backend() == package._backend._load_backend()[0]


def test_C_02_signatures():
    empty = inspect.Parameter.empty
    ranged = [("path", empty), ("dev_ptr", empty), ("file_offset", empty), ("total_length", empty), ("chunk_size", 0)]
    assert parameters(interface.FileReaderInterface.read_chunked) == ranged + [("pipelined", False)]
    for kind, pipelined in zip(READERS, (True, False, False)):
        assert parameters(kind.read_chunked) == ranged + [("pipelined", pipelined)], kind
        assert parameters(kind.read_headers_batch) == [("paths", empty), ("num_threads", 8)]
        assert parameters(kind.close) == []
    mount = ("mount_point", empty)
    cpp = [mount, ("entries", 64), ("io_depth", 0), ("buffer_size", 64 * MIB)]
    assert parameters(reader_cpp.ThreeFSFileReaderCpp) == cpp == parameters(_core_v2.ThreeFSReader)
    assert parameters(reader_py.ThreeFSFileReaderPy) == [
        mount, ("entries", 128), ("io_depth", 0), ("buffer_size", 1024 * MIB), ("kwargs", empty)]  # fmt: skip
    assert parameters(mock.MockFileReader) == [("mount_point", ""), ("kwargs", empty)]
    assert parameters(package.create_reader) == [("backend", "auto"), ("kwargs", empty)]


def test_C_03_the_interface_is_abstract():
    for kind in READERS:
        assert issubclass(kind, package.FileReaderInterface)
    with pytest.raises(TypeError):
        package.FileReaderInterface()


def test_C_04_create_reader():
    reader = package.create_reader("mock", mount_point="x", whatever=1)
    assert isinstance(reader, package.MockFileReader) and reader.mount_point == "x"
    assert isinstance(package.create_reader(mount_point="x"), package.ThreeFSFileReader)
    assert isinstance(package.create_reader("python", mount_point="x", token="t"), READERS[1])
    with pytest.raises(ValueError, match="auto.*cpp.*python.*mock"):
        package.create_reader("bogus")


@pytest.mark.parametrize("value, backend", [
    (" CPP ", "cpp"), ("", "cpp"), ("  ", "cpp"), ("auto", "cpp"), ("Python", "python"), ("mock", "mock")])  # fmt: skip
def test_C_05_C_06_the_environment_chooses(value, backend):
    script = "import fastsafetensor_3fs_reader as f; print(f.get_backend(), f.is_available(), f.ThreeFSFileReader.__name__)"
    words = reader_lib.run(script, FASTSAFETENSORS_BACKEND=value).split()
    assert words[0] == backend and words[1] == str(backend != "mock")


def test_C_05_a_backend_that_is_none():
    said = reader_lib.run("import fastsafetensor_3fs_reader", status=1, FASTSAFETENSORS_BACKEND="nonsense")
    assert "ValueError" in said and "cpp, python, mock or auto" in said


def test_C_06_without_3fs():
    assert package.get_backend() in ("cpp", "python", "mock")
    assert package.is_available() == (package.get_backend() != "mock")


def test_C_07_kinds_of_numbers(tmp_path):
    class Index:
        def __index__(self):
            return 4096

    assert READERS[0]("m", buffer_size=Index()).iov_length == 4096
    for bad in (1.5, "4096", None, -1):
        with pytest.raises(TypeError):
            READERS[0]("m", buffer_size=bad)
    with pytest.raises(TypeError):
        READERS[0]("m", entries=1.5)
    with pytest.raises(TypeError):
        READERS[0]("m", mount_name="x")
    path = tmp_path / "f"
    path.write_bytes(b"0123456789")
    reader = READERS[0]("m", entries=0)
    assert reader.read_chunked(str(path), 0, Index().__index__() - 4095, 5) == 5
    for bad in (1.5, -1, "1", None, 1 << 64):
        with pytest.raises(TypeError):
            reader.read_chunked(str(path), bad, 0, 4)
    with pytest.raises(TypeError):
        reader.read_chunked(str(path), 0, 0.0, 4)


def test_C_07_kinds_of_paths(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"0123456789")
    for kind in READERS:
        with kind("m") as reader:
            assert reader.read_chunked(str(path), 0, 0, 4) == 4
            assert reader.read_chunked(os.fsencode(path), 0, 0, 4) == 4
            if kind is READERS[0]:
                with pytest.raises(TypeError):
                    reader.read_chunked(path, 0, 0, 4)
            else:
                assert reader.read_chunked(path, 0, 0, 4) == 4
            with pytest.raises(ValueError):
                reader.read_chunked("a\0b", 0, 0, 4)


@pytest.mark.parametrize("kind", READERS)
def test_C_08_properties(kind, tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"0123456789")
    with kind(mount_point="/somewhere", buffer_size=12345) as reader:
        assert reader.mount_point == "/somewhere"
        assert reader.iov_length == 12345
        assert isinstance(reader.iov_base, int) and reader.iov_base == reader.iov_base > 0
        assert reader.has_fd(str(path)) is False
        reader.read_chunked(str(path), 0, 0, 4)
        assert reader.has_fd(str(path)) is True


def test_C_02_the_core(tmp_path):
    path = str(tmp_path / "f")
    with open(path, "wb") as to:
        to.write((6).to_bytes(8, "little") + b'{"a":1}'[:6] + b"data")
    core = _core_v2.ThreeFSReader("")
    fd = core.open(path)
    assert isinstance(fd, int) and core.open(path) == core.get_fd(path) == fd
    memory = reader_lib.Memory(100)
    assert core.read_chunked(fd, memory.address, 14, 100) == 4 and memory.holds(b"data")
    assert core.read_chunked_pipelined(fd, 0, 0, 5) == 5
    assert core.open_and_read_headers([path]) == [(path, '{"a":1', 14, 18)]
    with pytest.raises(RuntimeError, match="no fd for path"):
        core.get_fd("/never/seen")
    core.close_all()
    with pytest.raises(RuntimeError):
        core.read_chunked(fd, 0, 0, 4)
    assert _core_v2.check_library() is reader_cpp.check_library() is True


def test_C_38_extract_mount_point_is_a_str(tmp_path):
    for path in (str(tmp_path), "/nonexistent/x", "/", "", "relative", "a\tb"):
        assert package.extract_mount_point(path) == ""


def test_C_37_whole_names_count(tmp_path):
    from fastsafetensor_3fs_reader._mount_utils import is_beneath

    (tmp_path / "3fs").mkdir()
    (tmp_path / "3fs2").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "3fs")
    mount = str(tmp_path / "3fs")
    assert is_beneath(mount, mount) and is_beneath(mount + "/x/y", mount)
    assert not is_beneath(str(tmp_path / "3fs2" / "x"), mount)
    assert is_beneath(str(tmp_path / "link" / "x"), mount)
    assert not is_beneath(mount + "/x", "")


def test_C_45_without_cuda(tmp_path):
    script = """if True:
        import ctypes, sys
        real = ctypes.CDLL
        def none_of_cuda(name, *more, **other):
            if name and "cuda" in name:
                raise OSError(name + ": not here")
            return real(name, *more, **other)
        ctypes.CDLL = none_of_cuda
        import fastsafetensor_3fs_reader as f
        memory = ctypes.create_string_buffer(16)
        for backend in ("cpp", "python", "mock"):
            reader = f.create_reader(backend, mount_point="")
            assert reader.read_chunked(sys.argv[1], ctypes.addressof(memory), 0, 16) == 10
            assert memory.raw[:10] == b"0123456789"
        said = f.capabilities()["cuda"]
        assert not said["usable"] and "not here" in said["reason"], said
        with open("/proc/self/maps") as maps:
            assert "libcuda" not in maps.read()
    """
    path = tmp_path / "f"
    path.write_bytes(b"0123456789")
    reader_lib.run(script, path)


def test_C_78_the_report_names_file_and_reason(tmp_path):
    script = """if True:
        import fastsafetensor_3fs_reader as f
        said = f.capabilities()
        assert said["native"]["usable"], said
        print(said["library"]["usable"], said["library"]["reason"])
    """
    assert reader_lib.run(script, LD_LIBRARY_PATH="").startswith("False no libhf3fs_api_shared.so")
    (tmp_path / "libhf3fs_api_shared.so").write_bytes(b"no library")
    said = reader_lib.run(script, HF3FS_LIB_DIR=str(tmp_path))
    assert said.startswith("False") and f"{tmp_path}/libhf3fs_api_shared.so: " in said


def test_C_78_a_foreign_soname(tmp_path):
    import shutil

    shutil.copy(os.path.join(os.environ["WEIR_BUILD"], "src", "libweir.so"), tmp_path / "libhf3fs_api_shared.so")
    script = "import fastsafetensor_3fs_reader as f; print(f.get_hf3fs_lib_path(), f.capabilities()['library'])"
    said = reader_lib.run(script, HF3FS_LIB_DIR=str(tmp_path))
    assert "'usable': False" in said and "does not call itself" in said and str(tmp_path) in said


def test_C_85_the_version_satisfies_fastsafetensors():
    import tomllib

    with open(reader_lib.PACKAGE / "pyproject.toml", "rb") as source:
        project = tomllib.load(source)["project"]
    assert project["name"] == "fastsafetensor-3fs-reader"
    assert tuple(map(int, project["version"].split("."))) >= (0, 3, 3)
    assert project["version"] == package.__version__
    assert project["dependencies"] == ["weir-io"]


def test_C_85_both_packages_are_a_clear_error():
    """pip replaces a distribution of the same name; nothing of the original's that would be imported is left out."""
    original = reader_lib.PACKAGE / "fastsafetensor_3fs_reader"
    names = {"__init__", "interface", "mock", "reader_cpp", "reader_py", "_backend", "_mount_utils", "_lib_preload"}
    assert names <= {path.stem for path in original.glob("*.py")}
    assert (original / "cpp" / "_core_v2.py").exists()


@pytest.mark.parametrize("value, on", [("", 0), ("0", 0), ("false", 0), ("OFF", 0), ("no", 0), ("1", 1), ("true", 1)])
def test_debug_is_read_in_one_way(value, on, tmp_path, monkeypatch, capfd):
    path = tmp_path / "f"
    path.write_bytes(b"0123456789")
    monkeypatch.setenv("FASTSAFETENSORS_DEBUG", value)
    for kind in READERS:
        kind("").read_chunked(str(path), 0, 0, 4)
    assert capfd.readouterr().err.count("[ThreeFSReader_") == 3 * on
