"""The JAX peer, run by its own Python: reads a cell's name and the steps to evaluate and to measure at, compiles, then
trains once for each further line.

Answers: "ready SECONDS" (compiling and the first call), then "took SECONDS" for each training: of the processor,
or of the wall if its argument is `wall`.
"""

from __future__ import annotations

import json
import sys
import time

import jax
import jax.numpy as jnp
from benchmarks.cells import LR, batches, data, named, start

EVALUATED, PROBED = 872, 256  # samples: 512 training and 360 validation ones, as digits has


def trace(params, x):
    """Preactivations and outputs of every layer of one run's net."""
    zs, hs = [], [x]
    for i, (w, b) in enumerate(params):
        zs.append(hs[-1] @ w.T + b)
        hs.append(jax.nn.relu(zs[-1]) if i < len(params) - 1 else zs[-1])
    return zs, hs[1:]


def losses(logits, y):
    """Cross-entropy of each sample."""
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1)[:, 0]


def loss(params, x, y):
    """Mean cross-entropy of one run's net on one batch."""
    return losses(trace(params, x)[1][-1], y).mean()


def evaluate(params, x, y):
    """Loss and accuracy on two fixed parts of the samples."""
    logits = trace(params, x)[1][-1]
    each, right = losses(logits, y), logits.argmax(1) == y
    return jnp.stack([each[:512].mean(), each[512:].mean(), right[:512].mean(), right[512:].mean()])


def look(params, x, y):
    """The light measures that JAX has without more passes: of weights, gradients and activations, a column a layer. Left
    out, in its favour: the backward signal, the last update and the change since the start."""
    zs, hs = trace(params, x)
    grads = jax.grad(loss)(params, x, y)
    rows = [[w.mean(), w.std(), jnp.linalg.norm(w), jnp.linalg.norm(b)] for w, b in params]
    rows = [[*row, jnp.linalg.norm(w), w.std(), jnp.linalg.norm(b)] for row, (w, b) in zip(rows, grads)]
    rows = [[*row, (z**2).mean(), (h**2).mean(), h.mean(), (z.max(0) <= 0).mean()] for row, z, h in zip(rows, zs, hs)]
    return jnp.stack([jnp.stack(row) for row in rows])


def main() -> None:
    clock = time.monotonic if "wall" in sys.argv[1:] else time.process_time
    name, evaluated, measured = json.loads(sys.stdin.readline())
    cell = named(name)
    x, y = (jnp.asarray(a) for a in data())
    params = [(jnp.asarray(w), jnp.asarray(b)) for w, b in start(cell)]
    at = jnp.arange(cell.steps)
    plan = (jnp.asarray(batches(cell)), jnp.isin(at, jnp.asarray(evaluated)), jnp.isin(at, jnp.asarray(measured)))

    def taken(which, function, params, samples):
        """Values of every run, or as many zeros at once where nothing is taken."""
        every = jax.vmap(function, in_axes=(0, None, None))
        shape = jax.eval_shape(every, params, x[:samples], y[:samples])
        some = lambda p: every(p, x[:samples], y[:samples])  # noqa: E731
        return jax.lax.cond(which, some, lambda p: jnp.zeros(shape.shape, shape.dtype), params)

    def step(params, now):
        """One SGD step of every run, with what is evaluated and measured before it."""
        index, evaluating, measuring = now
        found = ()
        if cell.measured:
            found = taken(evaluating, evaluate, params, EVALUATED), taken(measuring, look, params, PROBED)
        value, grads = jax.vmap(jax.value_and_grad(loss))(params, x[index], y[index])
        return jax.tree.map(lambda p, g: p - LR * g, params, grads), (value, found)

    train = jax.jit(lambda params, plan: jax.lax.scan(step, params, plan))
    began = clock()
    jax.block_until_ready(train(params, plan))
    print(f"ready {clock() - began}", flush=True)
    for _ in sys.stdin:
        began = clock()
        jax.block_until_ready(train(params, plan))
        print(f"took {clock() - began}", flush=True)


if __name__ == "__main__":
    main()
