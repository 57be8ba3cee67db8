# SPDX-License-Identifier: Apache-2.0
"""Files on a mount of 3FS: hf3fs_fuse.io reads and writes them through rings."""
