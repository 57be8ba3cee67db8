# SPDX-License-Identifier: Apache-2.0
"""load_fastsafetensors.py FOLDER: fastsafetensors on the CPU, where it has no GPU-direct storage."""
import glob
import sys

import torch
from fastsafetensors import SafeTensorsFileLoader, SingleGroup

from window import Window, size_of, version


def load(folder):
    loader = SafeTensorsFileLoader(SingleGroup(), device=torch.device("cpu"), nogds=True)
    loader.add_filenames({0: sorted(glob.glob(folder + "/*.safetensors"))})
    buffer = loader.copy_files_to_device()
    return loader, buffer, {name: buffer.get_tensor(name) for name in loader.get_keys()}


if __name__ == "__main__":
    with Window() as window:
        kept, memory, loaded = load(sys.argv[1])
    window.report(size_of(loaded.values()), version=version("fastsafetensors"))
    memory.close()
    kept.close()
