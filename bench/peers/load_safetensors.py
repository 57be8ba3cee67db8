# SPDX-License-Identifier: Apache-2.0
"""load_safetensors.py FOLDER [mmap|pread]: safetensors' load_file over each shard.

With mmap, load_file returns views in which nothing has been read yet; each tensor is cloned, as a
program does that goes on to use them or to close the file.
"""
import glob
import sys

from safetensors.torch import load_file

from window import Window, size_of, version


def load(folder, backend):
    tensors = {}
    for file in sorted(glob.glob(folder + "/*.safetensors")):
        part = load_file(file, backend=backend)
        if backend == "mmap":
            part = {name: tensor.clone() for name, tensor in part.items()}
        tensors.update(part)
    return tensors


if __name__ == "__main__":
    how = sys.argv[2] if len(sys.argv) > 2 else "mmap"
    with Window() as window:
        loaded = load(sys.argv[1], how)
    window.report(size_of(loaded.values()), version=version("safetensors"))
