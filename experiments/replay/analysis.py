"""Does initbench replay the training log of an MLP with a shared layer that the course notes print?

The notes train Linear(3,4), a shared Linear(4,4) used twice, Linear(4,1) for ten steps of SGD and print every loss,
weight, gradient and bias to four decimals, but neither data nor start; both were recovered from the printed numbers.
Two routes: the public sweep (data=npz, init=literal, sharing=all), and a plain nn.Sequential through `ib.share_`,
`ib.initialize_` and `ib.parameter_table`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from initbench.reproduce import Verdict

CLAIM = "initbench replays the training log of an MLP with a shared layer that the course notes print."
SOURCE = "Course notes on Dive into Deep Learning, 5.2 Parameter Management, exercise 3 (claim S14)"
DATA = Path(__file__).parent / "data"
LOSS, NUMBER = 1e-4, 5e-4  # allowed deviations of a loss, and of a printed number
COLUMNS = ["route", "quantity", "numbers", "largest_deviation", "allowed", "at"]


def predict() -> str:
    """The claim with its bounds."""
    return (
        f"all 10 losses within {LOSS:g}, every printed weight, gradient and bias within {NUMBER:g} (rounding is 5e-5)"
    )


def printed() -> dict[str, Any]:
    """The log: for each epoch the loss before the step, its gradients, and weights and biases after it."""
    return json.loads((DATA / "tied_mlp_log.json").read_text("utf-8"))


def recovered() -> dict[str, Any]:
    """Data and start that were recovered from the log."""
    return json.loads((DATA / "tied_mlp_start.json").read_text("utf-8"))


def start() -> dict[str, Any]:
    """The start with one entry a layer, as a file for init=literal: the shared layer stands there twice."""
    given = {name.split(" ")[0]: values for name, values in recovered()["parameters"].items()}
    return {
        f"{layer}.{kind}": given[f"{2 if layer == 4 else layer}.{kind}"] for layer in (0, 2, 4, 6) for kind in KINDS
    }


KINDS = ("weight", "bias")


def measure(folder: Path) -> pd.DataFrame:
    """The largest deviation of each quantity, a row each."""
    return pd.DataFrame([*by_sweep(folder), *by_module()], columns=COLUMNS)


def by_sweep(folder: Path) -> list[tuple[Any, ...]]:
    """The run as one command: its losses, and the norms of what is printed as matrices."""
    import initbench as ib

    given = recovered()
    np.savez(folder / "data.npz", x=np.array(given["X"]), y=np.array(given["y"]), train=np.arange(2))
    (folder / "start.json").write_text(json.dumps(start()), encoding="utf-8")
    results = ib.run(
        [
            *(
                "data=npz",
                f"data.path={folder / 'data.npz'}",
                "data.standardize=false",
                "model.depth=3",
                "model.width=4",
            ),
            *("model.dtype=float64", "init=literal", f"init.file={folder / 'start.json'}", "sharing=all", "seeds=1"),
            *("optim=sgd", f"optim.lr={given['lr']}", "optim.batch_size=null", f"train.steps={given['steps']}"),
            *(
                "measure.metrics=[weight_norm,bias_norm,grad_norm]",
                "measure.schedule={every: 1}",
            ),
            *("engine.workers=1", "track.uri=null", "report.formats=[csv]", "study=replay", f"outputs={folder}"),
        ],
        progress=False,
    )
    history = results.history
    losses = history[history["metric"] == "loss/train"].set_index("step")["value"]
    epochs = printed()["epochs"]
    rows = [("sweep", "loss", *largest({f"epoch {i + 1}": (losses[i], e["loss"]) for i, e in enumerate(epochs)}), LOSS)]
    # the norm of a matrix differs by at most the norm of the differences: sqrt(16) numbers
    for metric, key, later in (("weight_norm", "w", 1), ("bias_norm", "b", 1), ("grad_norm", "g", 0)):
        values = history[history["metric"] == metric].set_index(["step", "layer"])["value"]
        pairs = {
            f"epoch {i + 1}, net {2 * layer}": (values[i + later, layer], np.linalg.norm(epoch[str(2 * layer)][key]))
            for i, epoch in enumerate(epochs)
            for layer in (0, 1, 3)
        }
        rows.append(("sweep", metric, *largest(pairs), NUMBER * 4))
    return [(route, name, n, deviation, allowed, at) for route, name, n, deviation, at, allowed in rows]


def by_module() -> list[tuple[Any, ...]]:
    """The run as the notes write it, in torch: every printed number."""
    import torch
    from torch import nn

    import initbench as ib

    given = recovered()
    x, y = (torch.tensor(given[name], dtype=torch.float64) for name in ("X", "y"))
    net = nn.Sequential(
        *(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
    ).double()
    ib.share_(net, [["2", "4"]])
    ib.initialize_(net, start())
    trainer = torch.optim.SGD(net.parameters(), lr=given["lr"])
    pairs: dict[str, dict[str, tuple[Any, Any]]] = {"loss": {}, "weight": {}, "gradient": {}, "bias": {}}
    for i, epoch in enumerate(printed()["epochs"]):
        trainer.zero_grad()
        loss = nn.functional.mse_loss(net(x), y)
        loss.backward()
        trainer.step()
        pairs["loss"][f"epoch {i + 1}"] = float(loss.detach()), epoch["loss"]
        table = ib.parameter_table(net, values=True).set_index("name")
        for layer, slot in (("0", "0"), ("2", "2"), ("4", "2"), ("6", "6")):
            at = f"epoch {i + 1}, net {layer}"
            pairs["weight"][at] = table.loc[f"{slot}.weight", "value"].flatten().numpy(), epoch[layer]["w"]
            pairs["gradient"][at] = table.loc[f"{slot}.weight", "grad"].flatten().numpy(), epoch[layer]["g"]
            pairs["bias"][at] = table.loc[f"{slot}.bias", "value"].numpy(), epoch[layer]["b"]
    rows = []
    for name, compared in pairs.items():
        n, deviation, at = largest(compared)
        rows.append(("module", name, n, deviation, LOSS if name == "loss" else NUMBER, at))
    return rows


def largest(pairs: dict[str, tuple[Any, Any]]) -> tuple[int, float, str]:
    """(numbers compared, largest absolute deviation, where) of place -> (ours, printed); NaN is the largest.

    >>> largest({"a": (1.0, 1.5), "b": (float("nan"), 1.0)})
    (2, nan, 'b')
    """
    deviations = {at: float(np.max(np.abs(np.asarray(a) - np.asarray(b)))) for at, (a, b) in pairs.items()}
    worst = max(deviations, key=lambda at: np.nan_to_num(deviations[at], nan=np.inf))
    return sum(np.size(b) for _, b in pairs.values()), deviations[worst], worst


def verdict(measured: pd.DataFrame) -> Verdict:
    """CONFIRMED if every largest deviation is within what is allowed; deterministic, so a bound and no interval."""
    words = []
    for row in measured.itertuples():
        if row.route == "module":
            words.append(f"{row.quantity} {row.largest_deviation:.1e}")
    beyond = measured[~(measured["largest_deviation"] <= measured["allowed"])]
    if len(beyond):
        first = beyond.iloc[0]
        return Verdict(
            "REFUTED",
            f"{first['quantity']} ({first['route']}) deviates by {first['largest_deviation']:.2g} at {first['at']}, "
            f"allowed is {first['allowed']:g}",
        )
    sweep = measured[(measured["route"] == "sweep") & (measured["quantity"] == "loss")]["largest_deviation"].max()
    return Verdict("CONFIRMED", f"largest deviations: {', '.join(words)}; loss of the sweep {sweep:.1e}")


def size(measured: pd.DataFrame) -> str:
    """How many numbers are compared."""
    return f"{measured['numbers'].sum():,} numbers"


WORDS = {"weight_norm": "norm of a weight", "bias_norm": "norm of a bias", "grad_norm": "norm of a gradient"}


def page(measured: pd.DataFrame) -> str:
    """The result as Markdown: what stands in README.md."""
    lines = [
        f"**Verdict: {verdict(measured).word}.** Deterministic, float64, so a bound and no interval. n is the count of numbers compared.",
        "",
        "| route | quantity | n | largest deviation | allowed |",
        "|---|---|---|---|---|",
    ]
    for row in measured.sort_values("route", kind="stable").itertuples():
        deviation, allowed = short(f"{row.largest_deviation:.1e}"), short(f"{row.allowed:.0e}")
        name = WORDS.get(row.quantity, row.quantity)
        lines.append(f"| {row.route} | {name} | {row.numbers} | {deviation} | {allowed} |")
    return "\n".join(lines)


def short(text: str) -> str:
    """
    >>> short("1.1e-05")
    '1.1e-5'
    """
    return text.replace("e-0", "e-")
