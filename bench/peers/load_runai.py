# SPDX-License-Identifier: Apache-2.0
"""load_runai.py FOLDER: Run:ai's streamer through its Python package, every tensor kept."""
import glob
import sys

from runai_model_streamer import SafetensorsStreamer

from window import Window, size_of, version


def load(folder):
    with SafetensorsStreamer() as streamer:
        streamer.stream_files(sorted(glob.glob(folder + "/*.safetensors")))
        return dict(streamer.get_tensors())


if __name__ == "__main__":
    with Window() as window:
        loaded = load(sys.argv[1])
    window.report(size_of(loaded.values()), version=version("runai-model-streamer"))
