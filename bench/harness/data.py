# SPDX-License-Identifier: Apache-2.0
"""The files that are measured: safetensors files of random bytes, made once and kept.

They are written here, in a few lines, so that a measurement needs nothing of weir. All bytes are
really written: a file that was only reserved reads as zeroes without the disk.
"""
import json
import os

ROW = 1 << 20


def header(tensors):
    """tensors: list of (name, bytes); BF16, one dimension. Returns the padded header with its length."""
    entries, at = {}, 0
    for name, size in tensors:
        entries[name] = {"dtype": "BF16", "shape": [size // 2], "data_offsets": [at, at + size]}
        at += size
    encoded = json.dumps(entries, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    return len(encoded).to_bytes(8, "little") + encoded


def write_file(path, tensors):
    head = header(tensors)
    size = len(head) + sum(size for _, size in tensors)
    if os.path.exists(path) and os.path.getsize(path) == size:
        return
    with open(path + ".part", "wb", buffering=0) as out:
        out.write(head)
        left = size - len(head)
        while left > 0:
            left -= out.write(os.urandom(min(16 * ROW, left)))
        os.fsync(out.fileno())
    os.rename(path + ".part", path)


def write_model(folder, shards):
    """shards: list of lists of (name, bytes). A folder with an index, as hubs have them."""
    os.makedirs(folder, exist_ok=True)
    names = {}
    for i, tensors in enumerate(shards):
        file = f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors"
        write_file(os.path.join(folder, file), tensors)
        names.update((name, file) for name, _ in tensors)
    index = os.path.join(folder, "model.safetensors.index.json")
    if not os.path.exists(index):
        total = sum(size for tensors in shards for _, size in tensors)
        with open(index, "w") as out:
            json.dump({"metadata": {"total_size": total}, "weight_map": names}, out)
    return folder


def layer(index):
    """The tensors of one decoder layer, 128 MiB and a bit: big matrices, small ones, norms."""
    stem = f"model.layers.{index}."
    mib = ROW
    parts = [("self_attn.q_proj.weight", 16 * mib), ("self_attn.k_proj.weight", 4 * mib),
             ("self_attn.v_proj.weight", 4 * mib), ("self_attn.o_proj.weight", 16 * mib),
             ("mlp.gate_proj.weight", 29 * mib), ("mlp.up_proj.weight", 29 * mib),
             ("mlp.down_proj.weight", 30 * mib), ("input_layernorm.weight", 8192),
             ("post_attention_layernorm.weight", 8192)]
    return [(stem + name, size) for name, size in parts]


class Data:
    """Where everything lies; sizes in GiB may be lowered where the disk or the memory is small."""

    def __init__(self, folder, big_gib=8, model_gib=4):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.big = os.path.join(folder, f"big-{big_gib}g.safetensors")
        self.big_bytes = big_gib << 30
        self.model_gib = model_gib
        self.model = os.path.join(folder, f"model-{model_gib}g")
        self.many = os.path.join(folder, "shards-100")

    def make(self):
        write_file(self.big, [(f"block.{i}.weight", 64 * ROW) for i in range(self.big_bytes // (64 * ROW) + 1)])
        write_model(self.model, [[part for i in range(8) for part in layer(shard * 8 + i)]
                                 for shard in range(self.model_gib)])
        write_model(self.many, [[(f"layer.{shard}.part.{i}.weight", 4096) for i in range(16)]
                                for shard in range(100)])

    def own(self, user, group):
        """Gives all to the user that will be measured: only an owner may ask what is cached."""
        for folder, _, files in os.walk(self.folder):
            os.chown(folder, user, group)
            for file in files:
                os.chown(os.path.join(folder, file), user, group)

    @staticmethod
    def files(folder):
        return sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".safetensors"))
