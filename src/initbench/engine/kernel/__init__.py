"""The kernel: each run trained in cache by compiled vector code, for nets whose layers look their weights up."""
