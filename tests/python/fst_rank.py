# SPDX-License-Identifier: Apache-2.0
"""One rank of a group that loads a model through fastsafetensors: fst_rank.py WHAT RANK RANKS
FOLDER

Run by peers_fastsafetensors_ranks.py, once per rank. It checks all values itself and exits with 0
where they are right."""

import glob
import os
import sys

import torch
import torch.distributed as dist
from fst_lib import assert_equal, reference, same, write_model

import weir.fastsafetensors as plugin


def whole_group(what, paths, group):
    """All tensors, on all ranks of the group, through a pipeline."""
    if what == "auto":
        from fastsafetensors import AutoLoader

        loader = AutoLoader(group, paths)
    elif what == "3fs":
        from fastsafetensors.threefs_loader import ParallelThreeFSLoader

        loader = ParallelThreeFSLoader(group, paths, use_tqdm_on_load=False)
    else:
        loader = plugin.ParallelWeirLoader(group, paths, use_tqdm_on_load=False)
    found = {name: tensor.clone() for name, tensor in loader.iterate_weights()}
    loader.close()
    assert_equal(found, reference(paths))


def shards(paths, group):
    """Single tensors: whole, cut along a dimension, pushed to one rank."""
    whole = reference(paths)
    rank, ranks = group.rank(), group.size()
    loader = plugin.WeirLoader(group, "cpu")
    loader.add_filenames({r: paths[r::ranks] for r in range(ranks)})
    buffers = loader.copy_files_to_device()
    assert same(buffers.get_tensor("s0.h.0.attn.weight"), whole["s0.h.0.attn.weight"])
    for name in ("s1.h.1.attn.weight", "s0.large"):
        dim = whole[name].dim() - 1
        part = whole[name].chunk(ranks, dim)[rank].contiguous()
        assert same(buffers.get_sharded(name, dim), part), name
    for name, dim in (("s0.five", 0), ("s0.five", 1), ("s1.one", 0), ("s1.one", 1)):
        extent = whole[name].shape[dim]
        block = -(-extent // ranks)
        start = min(rank * block, extent)
        part = whole[name].narrow(dim, start, min(block, extent - start)).contiguous()
        assert same(buffers.get_sharded(name, dim), part), (name, dim)
    pushed = buffers.push_tensor("s1.five", ranks - 1)
    assert (pushed is not None) == (rank == ranks - 1)
    assert pushed is None or same(pushed, whole["s1.five"])
    buffers.close()
    loader.close()


def main():
    """Joins the group, loads, and leaves in step with the others."""
    what, rank, ranks, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method="file://" + os.path.join(folder, "meet"), rank=rank, world_size=ranks
    )
    if rank == 0:
        write_model(folder, shards=3)
    dist.barrier()
    paths = sorted(glob.glob(os.path.join(folder, "*.safetensors")))
    whole_group(what, paths, dist.group.WORLD)
    if what == "weir":
        shards(paths, dist.group.WORLD)
    if ranks == 3:
        some = dist.new_group([1, 2], backend="gloo")
        if rank in (1, 2):
            whole_group(what, paths, some)
            if what == "weir":
                shards(paths, some)
    dist.barrier()
    dist.destroy_process_group()


main()
