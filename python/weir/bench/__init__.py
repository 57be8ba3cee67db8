# SPDX-License-Identifier: Apache-2.0
"""How fast readers of tensors are here: a grid of settings, measured in processes that start together.

``python -m weir.bench --mount-point DIR`` or ``--uri URI`` runs it, and so does ``weir bench reader``.

==========  =====================================================================
options     the command line, and the grid that it asks for
places      URIs to the files that they mean on this machine
backends    names of readers to readers
worker      one process: waits at a barrier, reads its files, tells
rounds      the processes of one combination, from their start to their last word
figures     medians and spreads
cache       files out of the page cache, and what is in it
tables      CSV files and what is printed
charts      SVG
report      one HTML page
==========  =====================================================================
"""
