# SPDX-License-Identifier: Apache-2.0
"""The tests in the source distribution of fastsafetensor-3fs-reader 0.3.3, unchanged, against our package.

They are downloaded from PyPI into the build directory and run in every set-up: each backend; without a
mount, with a plain directory that is called one, and on a mount of weir-mount; without and with the Python
client of 3FS.  All 88 pass, but for those that skip themselves: 33 where there is no mount or the backend
is the mock, 6 where the client is not there.
"""

import os
import re
import subprocess
import sys
import tarfile
import time

import pytest
import reader_lib

PUBLISHED = "fastsafetensor-3fs-reader==0.3.3"
COUNT, OF_MOUNTS, OF_CLIENT = 88, 33, 6
CLIENT = reader_lib.ROOT / "python" / "compat" / "hf3fs-py-usrbio"


@pytest.fixture(scope="session")
def tests():
    """The folder of the tests, away from the package that they came with."""
    home = reader_lib.BUILD / "upstream-reader"
    if not (home / "tests").exists():
        home.mkdir(exist_ok=True)
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps",
                        "--no-binary", "fastsafetensor-3fs-reader", "-d", home, PUBLISHED], check=True)  # fmt: skip
        with tarfile.open(next(home.glob("*.tar.gz"))) as source:
            members = [m for m in source.getmembers() if re.fullmatch(r"[^/]+/tests/\w+\.py", m.name)]
            for member in members:
                member.name = member.name.split("/", 1)[1]
            source.extractall(home, members, filter="data")
    return home / "tests"


@pytest.fixture(scope="module")
def mount(tmp_path_factory):
    """A directory mounted by weir-mount."""
    if os.geteuid() or not os.access("/dev/fuse", os.W_OK):
        pytest.skip("mounting takes root and /dev/fuse")
    data, point = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("mount")
    daemon = subprocess.Popen([reader_lib.BUILD / "mount" / "weir-mount", "--foreground", "--read-write", data, point])
    try:
        for _ in range(1000):
            if (point / "3fs-virt").is_dir():
                break
            time.sleep(0.02)
        yield point
    finally:
        daemon.terminate()
        try:
            daemon.wait(20)
        finally:
            daemon.kill()
            subprocess.run(["umount", "-l", point], stderr=subprocess.DEVNULL, check=False)


def run_upstream(tests, backend, basetemp, client, mount_point):
    """(passed, skipped, failed) of all of them."""
    path = [reader_lib.BUILD / "python", reader_lib.PACKAGE] + ([CLIENT] if client else [])
    env = {**os.environ, "FASTSAFETENSORS_BACKEND": backend, "PYTHONPATH": os.pathsep.join(map(str, path))}
    env.pop("THREEFS_MOUNT_POINT", None)
    if mount_point:
        env["THREEFS_MOUNT_POINT"] = str(mount_point)
    run = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", basetemp, tests],
                         env=env, capture_output=True, text=True, timeout=100, check=False)  # fmt: skip
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|skipped|failed|error)", run.stdout)}
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
    return counts.get("passed", 0), counts.get("skipped", 0), counts.get("failed", 0) + counts.get("error", 0)


def expected(backend, client, mounted):
    skipped = OF_MOUNTS if backend == "mock" or not mounted else 0 if client else OF_CLIENT
    return COUNT - skipped, skipped, 0


@pytest.mark.parametrize("client", [False, True], ids=["alone", "with-client"])
@pytest.mark.parametrize("backend", ["", "cpp", "python", "mock"])
class TestUpstream:
    def test_C_76_without_a_mount(self, tests, tmp_path, backend, client):
        got = run_upstream(tests, backend, tmp_path / "t", client, None)
        assert got == expected(backend, client, False)

    def test_C_76_a_plain_directory(self, tests, tmp_path, backend, client):
        got = run_upstream(tests, backend, tmp_path / "t", client, tmp_path)
        assert got == expected(backend, client, True)

    def test_C_76_C_77_on_a_mount(self, tests, mount, backend, client):
        shared = set(os.listdir("/dev/shm"))
        got = run_upstream(tests, backend, mount / "t", client, mount)
        assert got == expected(backend, client, True)
        for _ in range(200):  # the daemon looks for the dead once a second
            left = [name for name in os.listdir(mount / "3fs-virt" / "iovs") if not name.startswith("submit-ios")]
            left += [name for name in set(os.listdir("/dev/shm")) - shared if "hf3fs" in name or "psm_" in name]
            if not left:
                break
            time.sleep(0.05)
        assert left == []
