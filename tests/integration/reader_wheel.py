#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The published reader's own compiled core on our library, over a real mount.

Wants a Python that has fastsafetensor-3fs-reader 0.3.3: tests/integration/reader_wheel makes one.  Each case runs the
wheel in a process of its own, for a library is found once in a process.  No GPU is needed: the CUDA
runtime in the wheel says that there is none, and bytes go to host memory."""
import json
import os
import random
import shutil
import subprocess
import sys
import time

from cli_lib import BUILD, SOURCE, CliTest, alone, main

LIBRARY = os.path.join(os.path.abspath(BUILD), "compat", "hf3fs")
MOUNT = os.path.join(os.path.abspath(BUILD), "mount", "weir-mount")
NAME = "libhf3fs_api_shared.so"

READ = r"""
import ctypes, json, os, sys
import fastsafetensor_3fs_reader as package
wanted = json.load(sys.stdin)
assert package.get_backend() == "cpp", package.get_backend()
reader = package.ThreeFSFileReader(wanted["mount"], entries=wanted["entries"], buffer_size=wanted["buffer"])
bad = []
for path, offset, length, chunk, pipelined in wanted["reads"]:
    with open(path, "rb") as file:
        file.seek(max(offset, 0))
        right = file.read(max(length, 0))
    room = bytearray(b"\xa5" * (len(right) + 64))
    address = ctypes.addressof(ctypes.c_char.from_buffer(room))
    got = reader.read_chunked(path, address, offset, length, chunk, pipelined)
    if got != len(right) or room[:got] != right or room[got:] != b"\xa5" * (len(room) - got):
        bad.append([path, offset, length, chunk, pipelined, got])
headers = {}
if wanted["headers"]:
    for path, (text, size, whole) in reader.read_headers_batch(wanted["headers"], 4).items():
        headers[path] = [len(text.encode()) + 8 == size, whole == os.path.getsize(path), len(json.loads(text))]
inside = os.listdir(os.path.join(wanted["mount"], "3fs-virt", "iovs")) if wanted["look"] else []
reader.close()
if wanted["cuda"]:
    wanted["cuda"] = ctypes.c_uint.in_dll(ctypes.CDLL(wanted["cuda"]), "streams_made").value
print(json.dumps({"streams": wanted["cuda"], "bad": bad, "headers": headers, "library": package.get_hf3fs_lib_path(), "inside": inside}))
"""


class ReaderWheel(CliTest):
    def setUp(self):
        super().setUp()
        self.data, self.mounted = self.path("data"), self.path("mnt")
        os.mkdir(self.mounted)
        self.weir("make-model", "--size", "24MiB", "--shards", "3", "--odd", "--seed", "5", self.data)
        for size in (0, 1, 511, 512, 4095, 4096, 4097, (1 << 20) + 3):
            with open(os.path.join(self.data, f"plain-{size}"), "wb") as file:
                file.write(random.Random(size).randbytes(size))
        self.before = set(os.listdir("/dev/shm"))
        self.daemon = subprocess.Popen([MOUNT, "--foreground", self.data, self.mounted])
        self.addCleanup(self.unmount)
        self.wait_for(lambda: os.path.isdir(os.path.join(self.mounted, "3fs-virt")), "the mount")

    def wait_for(self, done, what):
        end = time.monotonic() + 20
        while not done():
            self.assertLess(time.monotonic(), end, f"{what} does not come")
            self.assertIsNone(self.daemon.poll(), "the mount daemon has ended")
            time.sleep(0.02)

    def unmount(self):
        self.daemon.terminate()
        try:
            self.daemon.wait(20)
        finally:
            self.daemon.kill()
            subprocess.run(["umount", "-l", self.mounted], stderr=subprocess.DEVNULL, check=False)

    def paths(self):
        return sorted(os.path.join(self.mounted, name) for name in os.listdir(self.data))

    def read(self, reads, headers=(), env=None, **how):
        wanted = {"mount": self.mounted, "entries": 64, "buffer": 1 << 20, "reads": reads,
                  "headers": list(headers), "look": True, "cuda": "", **how}
        environment = {**os.environ, "FASTSAFETENSORS_BACKEND": "cpp", **(env or {"HF3FS_LIB_DIR": LIBRARY})}
        run = subprocess.run([sys.executable, "-c", READ], input=json.dumps(wanted), env=environment, timeout=100,
                             capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 0, run.stderr[-3000:])
        return json.loads(run.stdout)

    def test_C_71_UB_53_models_bit_for_bit(self):
        shards = [path for path in self.paths() if path.endswith(".safetensors")]
        reads = [[path, 0, os.path.getsize(path), 0, pipelined] for path in shards for pipelined in (False, True)]
        answer = self.read(reads, shards, buffer=16 << 20)
        self.assertEqual(answer["bad"], [])
        self.assertEqual(len(answer["headers"]), 3)
        for path, (length_right, size_right, tensors) in answer["headers"].items():
            self.assertTrue(length_right and size_right and tensors, path)

    def test_C_20_C_21_sizes_offsets_chunks(self):
        chance = random.Random(7)
        for entries, buffer in ((1, 4096), (3, 65000), (64, 1 << 20)):
            reads = []
            for path in self.paths():
                size = os.path.getsize(path)
                for _ in range(6):
                    offset = chance.choice([0, 1, 511, 4096, max(size - 7, 0), size, size + 100])
                    length = chance.choice([0, 1, 513, 4096, 70000, min(size, 1 << 20)])
                    reads.append([path, offset, length, chance.choice([0, 7 if length < 4096 else 4096, 65536]),
                                  chance.random() < 0.5])
            self.assertEqual(self.read(reads, entries=entries, buffer=buffer)["bad"], [], (entries, buffer))

    def test_C_72_pipelined_with_a_look_alike_of_cuda(self):
        """Only with a stream does the core read in two halves in turns."""
        cuda = self.path("libcudart.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", cuda, os.path.join(SOURCE, "tests", "python", "cudart.c")],
                       check=True)
        env = {"HF3FS_LIB_DIR": LIBRARY, "LD_PRELOAD": cuda}
        for buffer in (2, 4095, 65001, (1 << 20) + 1):
            reads = []
            for path in self.paths():
                length = min(os.path.getsize(path), 1000 * buffer)
                for offset in (0, 1, 511):
                    reads += [[path, offset, max(length - offset, 0), 0, pipelined] for pipelined in (True, False)]
            answer = self.read(reads, env=env, buffer=buffer, cuda=cuda)
            self.assertEqual(answer["bad"], [], buffer)
            self.assertGreater(answer["streams"], 0)

    def test_C_71_found_by_each_route(self):
        small = [[self.paths()[0], 0, 100, 0, False]]
        versioned = self.path("versioned")
        os.mkdir(versioned)
        shutil.copy(os.path.join(LIBRARY, NAME), os.path.join(versioned, NAME + ".1"))
        package = self.path("site")
        os.makedirs(os.path.join(package, "hf3fs_py_usrbio.libs"))
        with open(os.path.join(package, "hf3fs_py_usrbio.py"), "w", encoding="utf-8"):
            pass
        shutil.copy(os.path.join(LIBRARY, NAME), os.path.join(package, "hf3fs_py_usrbio.libs", NAME))
        for env in ({"HF3FS_LIB_DIR": LIBRARY}, {"HF3FS_LIB_DIR": versioned}, {"LD_LIBRARY_PATH": LIBRARY},
                    {"LD_LIBRARY_PATH": versioned}):
            self.assertEqual(self.read(small, env=env)["bad"], [], env)

    def test_C_77_nothing_is_left(self):
        answer = self.read([[path, 0, 1000, 0, True] for path in self.paths()])
        keys = [name for name in answer["inside"] if not name.startswith("submit-ios")]
        self.assertEqual(len(keys), 2, "a buffer and a ring while the reader lives")
        iovs = os.path.join(self.mounted, "3fs-virt", "iovs")
        self.wait_for(lambda: len(os.listdir(iovs)) == 3, "the end of all keys")
        left = {name for name in set(os.listdir("/dev/shm")) - self.before if name.startswith("hf3fs-iov-")}
        self.assertEqual(left, set())


if __name__ == "__main__":
    alone()
    main()
