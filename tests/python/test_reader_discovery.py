# SPDX-License-Identifier: Apache-2.0
"""Where fastsafetensor_3fs_reader looks for the 3FS client's library."""

import ctypes
import logging
import os
import sys

import pytest
import reader_lib  # noqa: F401  (finds the package)

from fastsafetensor_3fs_reader import _lib_preload as preload

NAME = "libhf3fs_api_shared.so"


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(preload, "_preloaded_path", None)
    monkeypatch.setattr(preload, "_failures", {})
    for name in ("HF3FS_LIB_DIR", "LD_LIBRARY_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(preload, "_find_in_pip_packages", lambda rejected=(): None)


@pytest.fixture
def loaded(monkeypatch):
    """What would have been loaded; paths in `broken` fail."""

    class Loader(list):
        broken = ()

        def __call__(self, path, mode=0):
            if path in self.broken:
                raise OSError(f"{path}: file too short")
            assert mode == ctypes.RTLD_GLOBAL
            self.append(path)

    loader = Loader()
    monkeypatch.setattr(ctypes, "CDLL", loader)
    return loader


def make(folder, name=NAME):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()
    return str(folder / name)


def test_C_09_the_order(tmp_path, monkeypatch, loaded):
    env, path, pip = (make(tmp_path / name) for name in ("env", "path", "pip"))
    monkeypatch.setattr(preload, "_find_in_pip_packages", lambda rejected=(): None if pip in rejected else pip)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path / "path"))
    monkeypatch.setenv("HF3FS_LIB_DIR", str(tmp_path / "env"))
    for expected in (env, path, pip):
        assert preload.preload_hf3fs_library() is True
        assert preload.get_hf3fs_lib_path() == expected == loaded[-1]
        preload._preloaded_path = None
        monkeypatch.delenv("HF3FS_LIB_DIR" if expected == env else "LD_LIBRARY_PATH", raising=False)


def test_C_10_names_and_versions(tmp_path):
    for version in ("1.9", "1.10", "1.2", "bak", "debug"):
        make(tmp_path, f"{NAME}.{version}")
    assert preload._glob_lib(tmp_path) == str(tmp_path / f"{NAME}.1.10")
    exact = make(tmp_path)
    assert preload._glob_lib(tmp_path) == exact
    os.unlink(exact)
    os.mkdir(exact)  # no regular file
    assert preload._glob_lib(tmp_path) == str(tmp_path / f"{NAME}.1.10")


@pytest.mark.parametrize("folder", [None, "", "/nonexistent"])
def test_C_11_nothing_falls_through(folder, tmp_path, monkeypatch, loaded):
    if folder is not None:
        monkeypatch.setenv("HF3FS_LIB_DIR", folder)
    path = make(tmp_path)
    monkeypatch.setenv("LD_LIBRARY_PATH", f" {os.pathsep}{os.pathsep}/none{os.pathsep} {tmp_path} ")
    assert preload.preload_hf3fs_library() is True
    assert loaded == [path]


def test_C_12_what_cannot_be_loaded_is_passed_over(tmp_path, monkeypatch, caplog):
    bad = make(tmp_path)
    monkeypatch.setenv("HF3FS_LIB_DIR", str(tmp_path))
    with caplog.at_level(logging.WARNING):
        assert preload.preload_hf3fs_library() is False
    assert preload.get_hf3fs_lib_path() is None
    assert bad in caplog.text and bad in preload.failures()


def test_C_12_the_next_candidate_is_tried(tmp_path, monkeypatch, loaded):
    bad, older = make(tmp_path / "a"), make(tmp_path / "a", NAME + ".2")
    other = make(tmp_path / "b")
    loaded.broken = (bad,)
    monkeypatch.setenv("HF3FS_LIB_DIR", str(tmp_path / "a"))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path / "b"))
    assert preload.preload_hf3fs_library() is True and loaded == [older]
    preload._preloaded_path = None
    loaded.broken = (bad, older)
    assert preload.preload_hf3fs_library() is True and loaded == [older, other]


def test_C_13_loaded_once(tmp_path, monkeypatch, loaded):
    path = make(tmp_path)
    monkeypatch.setenv("HF3FS_LIB_DIR", str(tmp_path))
    assert preload.preload_hf3fs_library() is preload.preload_hf3fs_library() is True
    assert loaded == [path]


@pytest.mark.parametrize("module, library", [
    ("hf3fs_py_usrbio/__init__.py", "hf3fs_py_usrbio.libs"),
    ("hf3fs_py_usrbio/__init__.py", "hf3fs_py_usrbio/lib"),
    ("hf3fs_py_usrbio/__init__.py", "hf3fs_py_usrbio"),
    ("hf3fs_py_usrbio/__init__.py", "."),
    ("hf3fs_py_usrbio.so", "hf3fs_py_usrbio.libs"),
    ("hf3fs_py_usrbio.so", "."),
])  # fmt: skip
def test_C_13_layouts(module, library, tmp_path, monkeypatch):
    origin = tmp_path / module
    origin.parent.mkdir(exist_ok=True)
    origin.touch()
    path = make(tmp_path / library, NAME + ".1")
    spec = type("Spec", (), {"origin": str(origin)})
    monkeypatch.undo()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    assert os.path.normpath(preload._find_in_pip_packages()) == os.path.normpath(path)


def test_C_13_not_installed(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "hf3fs_py_usrbio", None)
    assert preload._find_in_pip_packages() is None
