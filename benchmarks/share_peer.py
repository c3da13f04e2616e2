"""One process of a peer that runs once a core: reads "cell|peer|share|shares", prepares, then trains once for each further line.

Answers: "ready 0", then "took SECONDS" of wall time for each training of its share of the runs.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import torch
from benchmarks.cells import named
from benchmarks.peers import PEERS


def main() -> None:
    name, peer, share, shares = sys.stdin.readline().strip().split("|")
    torch.set_num_threads(1)
    cell = named(name)
    train = PEERS[peer](replace(cell, runs=len(range(int(share), cell.runs, int(shares)))), time.monotonic)
    if peer in ("torch path", "kernel"):
        train()  # compiled and warm
    print("ready 0", flush=True)
    for _ in sys.stdin:
        print(f"took {train()}", flush=True)


if __name__ == "__main__":
    main()
