"""The JAX peer, run by its own Python: reads the name of a cell, compiles, then trains once for each further line.

Answers: "ready SECONDS" (compiling and the first call), then "took SECONDS" for each training: of the processor,
or of the wall if its argument is `wall`.
"""

from __future__ import annotations

import sys
import time

import jax
import jax.numpy as jnp
from benchmarks.cells import LR, batches, data, named, start


def loss(params, x, y):
    """Cross-entropy of one run's net on one batch."""
    h = x
    for i, (w, b) in enumerate(params):
        h = h @ w.T + b
        h = jax.nn.relu(h) if i < len(params) - 1 else h
    return -jnp.take_along_axis(jax.nn.log_softmax(h), y[:, None], axis=1).mean()


def main() -> None:
    clock = time.monotonic if "wall" in sys.argv[1:] else time.process_time
    cell = named(sys.stdin.readline().strip())
    x, y = (jnp.asarray(a) for a in data())
    params = [(jnp.asarray(w), jnp.asarray(b)) for w, b in start(cell)]
    index = jnp.asarray(batches(cell))

    def step(params, index):
        """One SGD step of every run."""
        value, grads = jax.vmap(jax.value_and_grad(loss))(params, x[index], y[index])
        return jax.tree.map(lambda p, g: p - LR * g, params, grads), value

    train = jax.jit(lambda params, index: jax.lax.scan(step, params, index))
    began = clock()
    jax.block_until_ready(train(params, index))
    print(f"ready {clock() - began}", flush=True)
    for _ in sys.stdin:
        began = clock()
        jax.block_until_ready(train(params, index))
        print(f"took {clock() - began}", flush=True)


if __name__ == "__main__":
    main()
