# SPDX-License-Identifier: Apache-2.0
"""load_tensorizer.py FOLDER: tensorizer, from its own format.

load_tensorizer.py --convert FOLDER writes FOLDER/model.tensors out of the shards first, once.
"""
import glob
import os
import sys

from tensorizer import TensorDeserializer, TensorSerializer

from window import Window, size_of, version


def convert(folder):
    from safetensors.torch import load_file
    tensors = {}
    for file in sorted(glob.glob(folder + "/*.safetensors")):
        tensors.update(load_file(file))
    serializer = TensorSerializer(folder + "/model.tensors.part")
    serializer.write_state_dict(tensors)
    serializer.close()
    os.rename(folder + "/model.tensors.part", folder + "/model.tensors")


def load(folder):
    with TensorDeserializer(folder + "/model.tensors", device="cpu") as deserializer:
        return dict(deserializer.items())


if __name__ == "__main__":
    if sys.argv[1] == "--convert":
        convert(sys.argv[2])
        sys.exit()
    with Window() as window:
        loaded = load(sys.argv[1])
    window.report(size_of(loaded.values()), version=version("tensorizer"))
