# SPDX-License-Identifier: Apache-2.0
"""The wheel that pip builds: what is in it, and that it works without anything of ours beside it."""

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile

import files
import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mesonpy") is None, reason="meson-python is not installed"
)


def tracked():
    """The files of a clean clone."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("this tree is no clone")
    return [name for name in listed.stdout.decode().split("\0") if name]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    clone = tmp_path_factory.mktemp("clone")
    for name in tracked():
        to = clone / name
        to.parent.mkdir(parents=True, exist_ok=True)
        if os.path.isfile(os.path.join(ROOT, name)):
            shutil.copy(os.path.join(ROOT, name), to)
    out = tmp_path_factory.mktemp("wheel")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["PATH"] = os.path.dirname(sys.executable) + os.pathsep + environment["PATH"]
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", out, clone], env=environment, check=True)
    (path,) = out.iterdir()
    return path


def test_it_is_for_every_python_from_3_11_on(wheel):
    assert wheel.name.startswith("weir_io-") and "-cp311-abi3-" in wheel.name


def test_it_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    roots = {name.split("/")[0] for name in names}
    assert len(roots) == 2 and "weir" in roots
    assert {"weir/_native.abi3.so", "weir/_native.pyi", "weir/py.typed", "weir/load.py"} <= set(names)
    assert not [name for name in names if name.endswith(("meson.build", ".c", ".pyc"))]


def test_it_shows_its_init_function_and_carries_the_library(wheel, tmp_path):
    zipfile.ZipFile(wheel).extract("weir/_native.abi3.so", tmp_path)
    library = tmp_path / "weir" / "_native.abi3.so"
    shown = subprocess.check_output(["nm", "-D", "--defined-only", library], text=True)
    assert [line.split()[-1] for line in shown.splitlines()] == ["PyInit__native"]
    assert b"libweir.so" not in subprocess.check_output(["readelf", "-d", library])


def test_it_loads_a_model(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    content = files.write(tmp_path / "m.safetensors", {"x": ("F32", (4, 5))})
    program = "import sys, weir; print(weir.load(sys.argv[1])['x'].tobytes().hex(), weir.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "m.safetensors"],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    data, place = done.stdout.split()
    assert data == content["x"].hex() and place.startswith(str(tmp_path / "site"))
