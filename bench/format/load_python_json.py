# SPDX-License-Identifier: Apache-2.0
"""load_python_json.py FILE: for each line N of stdin, json.loads of its header N times: ns and tensors."""
import json
import statistics
import struct
import sys
import time

with open(sys.argv[1], "rb") as file:
    text = file.read(struct.unpack("<Q", file.read(8))[0])
for line in sys.stdin:
    times = []
    for _ in range(int(line)):
        start = time.perf_counter_ns()
        header = json.loads(text)
        times.append(time.perf_counter_ns() - start)
    print(round(statistics.median(times)), len(header) - ("__metadata__" in header), flush=True)
