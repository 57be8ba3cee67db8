#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""setup.py [VENV]: the other loaders, as their users install them, into a virtual environment.

VENV defaults to weir-bench-peers in the user's cache directory; never inside the source tree. The
versions are fixed, so that a figure can be told apart from another's. torch comes from the same index
as the rest, which carries only its CUDA build: the gigabytes of CUDA libraries that it wants to see at
import, and never calls on a machine without a GPU, are replaced by small libraries that export the
names and return an error. Fine for loading on the CPU; never for a machine with a GPU.
"""
import glob
import os
import re
import subprocess
import sys
import tempfile
import venv

TORCH = "2.13.0"
PEERS = ["safetensors==0.8.0", "fastsafetensors==0.5.0", "tensorizer==2.12.1", "runai-model-streamer==0.17.0", "numpy"]
TORCH_NEEDS = ["filelock", "typing-extensions", "sympy", "networkx", "jinja2", "fsspec", "setuptools<81"]
CUDA_NEEDS = ["nvidia-cuda-runtime==13.0.*", "nvidia-cuda-cupti==13.0.*", "nvidia-cufile"]
PRESENT = {"libcuda.so.1", "libcudart.so.13", "libcupti.so.13", "libcufile.so.0"}
# A symbol belongs to the library whose prefix it has; longer prefixes first.
OWNERS = [("cublasLt", "libcublasLt.so.13"), ("cublas", "libcublas.so.13"), ("cudnn", "libcudnn.so.9"),
          ("cusparseLt", "libcusparseLt.so.0"), ("cusparse", "libcusparse.so.12"), ("cufft", "libcufft.so.12"),
          ("curand", "libcurand.so.10"), ("nvrtc", "libnvrtc.so.13"), ("cusolver", "libcusolver.so.12"),
          ("nccl", "libnccl.so.2"), ("nvshmem", "libnvshmem_host.so.3")]


def default_venv():
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(cache, "weir-bench-peers")


def lines(option, path):
    return subprocess.run(["readelf", "-W", option, path], capture_output=True, text=True).stdout.splitlines()


def owner_of(symbol):
    for prefix, library in OWNERS:
        if symbol.startswith(prefix) or (prefix == "nvshmem" and symbol.startswith("_Z") and prefix in symbol):
            return library
    return None


def missing_symbols(folder):
    """{library: {version: {symbol}}} that torch's libraries look for and nobody has."""
    wanted = {}
    for path in glob.glob(folder + "/*.so*"):
        for line in lines("-d", path):
            needed = re.search(r"NEEDED.*\[(lib(?:cu|nv|nccl)[^\]]*)\]", line)
            if needed:
                wanted.setdefault(needed[1], {})
        for line in lines("--dyn-syms", path):
            field = line.split()
            if len(field) < 8 or field[6] != "UND":
                continue
            symbol, _, version = field[7].partition("@")
            library = owner_of(symbol)
            if library:
                wanted.setdefault(library, {}).setdefault(version.lstrip("@"), set()).add(symbol)
    return {library: found for library, found in wanted.items() if library not in PRESENT}


def build_stand_in(folder, library, versions):
    with tempfile.TemporaryDirectory() as scratch:
        source, script = scratch + "/names.c", scratch + "/names.map"
        with open(source, "w") as out:
            for symbols in versions.values():
                out.writelines(f"int {symbol}(void) {{ return 1; }}\n" for symbol in sorted(symbols))
        with open(script, "w") as out:
            for version, symbols in versions.items():
                if version:
                    out.write(f"{version} {{ global: {' '.join(name + ';' for name in sorted(symbols))} }};\n")
        options = ["-Wl,--version-script=" + script] if os.path.getsize(script) else []
        subprocess.run(["cc", "-shared", "-fPIC", "-w", "-fno-builtin", "-o", f"{folder}/{library}",
                        f"-Wl,-soname,{library}", source, *options], check=True)


def main():
    where = sys.argv[1] if len(sys.argv) > 1 else default_venv()
    python = os.path.join(where, "bin", "python")
    if not os.path.exists(python):
        venv.create(where, with_pip=True)
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run(pip + TORCH_NEEDS, check=True)
    subprocess.run(pip + ["--no-deps", f"torch=={TORCH}", *CUDA_NEEDS], check=True)
    folder = glob.glob(where + "/lib/python3*/site-packages/torch/lib")[0]
    for library, versions in sorted(missing_symbols(folder).items()):
        build_stand_in(folder, library, versions)
    # Without their dependencies where those would bring torch's CUDA libraries back.
    subprocess.run(pip + ["--no-deps", *PEERS], check=True)
    subprocess.run(pip + ["humanize", "packaging", "psutil", "redis", "hiredis", "boto3", "protobuf", "libnacl",
                          "typer", "async-timeout"], check=True)
    subprocess.run([python, "-c", "import torch, safetensors, fastsafetensors, tensorizer, runai_model_streamer;"
                                  " print('ready:', torch.__version__)"], check=True)
    print(where)


if __name__ == "__main__":
    main()
