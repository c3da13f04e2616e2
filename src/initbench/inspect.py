"""python -m initbench.inspect init=... sharing=... [model.depth=50]: the net at step 0, layer by layer, without training.

Exit status: 0 done, also where a net is in trouble; 2 wrong input, or nothing that applies.
"""

from __future__ import annotations

import math
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from initbench.cli import as_json
from initbench.cli.ending import answered
from initbench.cli.flags import Parser
from initbench.diagnosis import Signals, diagnose, flags
from initbench.disk import published, write_text
from initbench.errors import NotApplicable, every, refusal, shown
from initbench.overrides.read import completed, key_of, texts

if TYPE_CHECKING:
    from initbench.data import Dataset
    from initbench.study.plan import PlannedArm

USUAL = ("seeds=64",)  # unless asked otherwise
# at step 0 only the probe counts: no rates, and evaluation on the probe's own samples
ALWAYS = ("train.steps=0", "optim.lr=0.1", "optim.batch_size=1", "train.eval_samples=256", "train.target=null")
MORE = ("preactivation_cosine", "unit_spread", "jacobian_sv_mean_square")  # besides the light measures


@dataclass(frozen=True)
class Inspection:
    """One arm at step 0: one row per layer, and what is wrong with it in one line."""

    label: str
    setting: str
    table: pd.DataFrame
    trouble: bool
    diagnosis: str
    signals: Signals
    notes: tuple[str, ...] = ()  # what to know of the net before trusting the table
    loss: str = ""  # the loss at the start beside what theory expects; empty where no theory holds


def look(overrides: Sequence[str], config_dirs: Sequence[str] = ()) -> list[Inspection]:
    """Every arm of a command at step 0 (64 seeds unless `seeds=` says otherwise); nothing is trained or stored.

    Raises InputError for wrong input, and if no arm applies.

    >>> found = look(["init=xavier_normal", "model.depth=2", "seeds=4"])[0]
    >>> found.trouble, found.table["shape"].tolist()
    (False, ['32x64', '32x32', '10x32'])
    """
    from initbench.overrides.expand import expand
    from initbench.study.labels import labelled
    from initbench.study.plan import planned

    arms, refused = [], []
    for config in expand(asked(overrides), config_dirs):
        try:
            arms.append(planned(config))
        except NotApplicable as reason:
            refused.append(str(reason))
    if not arms:
        raise every(refused)
    return [inspect_arm(arm) for arm in labelled(arms)]


def asked(overrides: Sequence[str]) -> list[str]:
    """The overrides with step 0 forced, and with one arm where no sweep is asked for.

    >>> asked(["init=eye"])[:3]
    ['seeds=64', 'sharing=none', 'init=eye']
    """
    for text in texts(overrides):
        if key_of(text) == "train.steps" and text != "train.steps=0":
            raise refusal(shown(text), "inspect looks at step 0, before any update", "leave it out")
    keys = {key_of(text) for text in texts(overrides)}
    single = [f"{key}={value}" for key, value in (("init", "torch_default"), ("sharing", "none"))
              if not keys & {key, "experiment"}]  # fmt: skip
    names = ",".join((*light(), *MORE))
    return completed(overrides, [*USUAL, *single], [*ALWAYS, f"measure.metrics=[{names}]"])


def light() -> tuple[str, ...]:
    """Names of the measures that need no decomposition."""
    from initbench.measure import SETS

    return SETS["light"]


def inspect_arm(arm: PlannedArm) -> Inspection:
    """One planned arm, all its seeds."""
    signals = signals_of(arm)
    trouble, line = diagnose(signals)
    cautions = arm.cautions
    if not trouble and arm.config.model.name == "module" and arm.material.structure.reach.kept:
        names = list(dict.fromkeys(arm.material.structure.names))
        line = line.replace("no trouble seen", f"no trouble seen in {', '.join(names[:6])}{' …' * (len(names) > 6)}", 1)
        line += "; nothing else was looked at"
    notes = tuple(str(one) for one in cautions)
    return Inspection(
        arm.label, arm.setting, table_of(arm, signals), trouble, line, signals, notes, loss_line(arm, signals)
    )


def loss_line(arm: PlannedArm, signals: Signals) -> str:
    """The loss at the start beside its closed form for independent logits, and beside that of equal chances."""
    from initbench import theory

    expected = theory.start_loss(arm.config, arm.layers, arm.scheme, arm.data)
    if expected is None:
        return ""
    return f"loss: {np.mean(signals.loss):.4g}, in theory {expected:.4g}; ln(classes) = {signals.guess:.4g} is that of a zero head"


def signals_of(arm: PlannedArm) -> Signals:
    """Train no step, and keep what was measured: each metric as (seeds, layers)."""
    from initbench import theory
    from initbench.engine.trainers import named
    from initbench.study.pool import chunks
    from initbench.study.worker import one_thread

    trainer = arm.trainer[0]
    if trainer.functions([arm.config]):  # no step is trained: nothing to compile for
        trainer = named("stacked")
    with one_thread():
        parts = [
            trainer.train(arm.config, runs, arm.data, lambda done: None)
            for runs in chunks(arm.config, arm.config.runs, arm.layers, workers=1)
        ]
    series = parts[0].series
    values = {
        name: np.concatenate([part.series[name].values[:, 0] for part in parts])
        for name, one in series.items()
        if one.layers is not None
    }
    classes = arm.data.classes
    squares = None if classes is not None else target_square(arm.data, arm.config.seeds)
    return Signals(
        values=values,
        layers={name: series[name].layers or () for name in values},
        loss=np.concatenate([part.series["loss/train"].values[:, 0] for part in parts]),
        guess=guess_of(arm.config.train.loss, classes) or squares or 1.0,
        targets=squares,
        theory=theory.predictions(arm.config, arm.layers, arm.scheme, arm.data),
    )


def guess_of(loss: str, classes: int | None) -> float | None:
    """Loss of the answer 1 over the number of classes for each; None where no class is guessed.

    >>> [round(guess_of(loss, 10), 3) for loss in ("auto", "sigmoid_cross_entropy", "sigmoid_squared_error")]
    [2.303, 0.325, 0.09]
    """
    if classes is None or loss == "squared_error":
        return None
    p = 1 / classes
    of_sigmoids = {
        "sigmoid_cross_entropy": -p * math.log(p) - (1 - p) * math.log1p(-p),
        "sigmoid_squared_error": p * (1 - p),
    }
    return of_sigmoids.get(loss, math.log(classes))


def target_square(data: Dataset, seeds: Sequence[int]) -> float:
    """Mean square of the standardized targets of the probe, mean over seeds."""
    from initbench.data import split, targets_of
    from initbench.measure import PROBE_SAMPLES

    found = []
    for seed in seeds:
        s = split(data, seed)
        found.append(float(np.mean(np.square(targets_of(data, s, s.train[:PROBE_SAMPLES])))))
    return float(np.mean(found))


def table_of(arm: PlannedArm, s: Signals) -> pd.DataFrame:
    """One row per layer. `stored` counts a shared weight at its first use; forward and backward are mean squares, mean over
    seeds; `size` is the root of the median one, of which the diagnosis speaks; `x theory` is the mean square over the
    predicted one, of the backward signal its factor through the layer above.
    """
    rows = []
    columns = {name: s.mean(name) for name in s.values}
    middle = {name: s.median(name) for name in s.values}
    sizes = {name: s.size(name) for name in ("preactivation_msq", "backward_msq")}
    seen: set[str] = set()
    names = names_of(arm)
    for layer in arm.layers:
        i, slot = layer.index, arm.scheme.weight_slot[layer.index]
        rows.append(
            {
                "layer": i,
                "name": names[i],
                "slot": slot.name,
                "uses": len(slot.layers),
                "shape": f"{layer.fan_out}x{layer.fan_in}",
                "stored": 0 if slot.name in seen | arm.scheme.frozen else math.prod(slot.shape),
                "mean": columns["weight_mean"].get(i, math.nan),
                "std": columns["weight_std"].get(i, math.nan),
                "norm": columns["weight_norm"].get(i, math.nan),
                "forward": columns["preactivation_msq"].get(i, math.nan),
                "forward size": sizes["preactivation_msq"].get(i, math.nan),
                "forward x theory": ratio(s, "preactivation_msq", i, columns["preactivation_msq"].get(i, math.nan)),
                "backward": columns["backward_msq"].get(i, math.nan),
                "backward size": sizes["backward_msq"].get(i, math.nan),
                "backward x theory": ratio(s, "backward_factor", i, backward_growth(s).get(i, math.nan)),
                "dead": middle.get("dead_fraction", {}).get(i, math.nan),
                "saturated": middle.get("saturated_fraction", {}).get(i, math.nan),
                "flag": flags(s, i),
            }
        )
        seen.add(slot.name)
    return pd.DataFrame(rows)


def names_of(arm: PlannedArm) -> list[str]:
    """Name of each layer's weight: a module's own dotted names."""
    if arm.config.model.name == "module":
        return [f"{name}.weight" for name in arm.material.structure.names]
    return [f"weight_{layer.index:02d}" for layer in arm.layers]


def backward_growth(s: Signals) -> dict[int, float]:
    """layer -> backward mean square over that of the layer above it, geometric mean over seeds."""
    with np.errstate(all="ignore"):
        logs = np.log(s.values["backward_msq"])
        return dict(enumerate(np.exp((logs[:, :-1] - logs[:, 1:]).mean(0))))


def ratio(s: Signals, name: str, layer: int, measured: float) -> float:
    """Measured over predicted; NaN where no theory holds."""
    numbers = (s.theory or {}).get(name, ())
    expected = numbers[layer] if layer < len(numbers) else None
    return measured / expected if expected else math.nan


# ------------------------------------------------------------------------------------------------- the command


def parser() -> Parser:
    """The command line."""
    made = Parser(
        prog="python -m initbench.inspect", description="A net at step 0, layer by layer; nothing is trained."
    )
    made.add_argument(
        "overrides", nargs="*", help="as for python -m initbench: init=orthogonal model.depth=50 seeds=200"
    )
    made.add_argument("--config-dir", metavar="DIR", help="a folder with option files of your own")
    made.add_argument(
        "--plot", metavar="FILE.svg", help="draw forward and backward signals by layer, with theory as dashed lines"
    )
    made.add_argument("--json", action="store_true", help="print table and diagnosis of every arm as JSON instead")
    made.add_argument("--csv", metavar="FILE.csv", help="write the table of all arms")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table and one line per arm; returns the exit status."""
    return answered("initbench.inspect", lambda: _inspected(parser().parse_args(argv)))


def _inspected(args: Namespace) -> int:
    for path, end in ((args.plot, ".svg"), (args.csv, ".csv")):
        if path and not path.endswith(end):
            raise refusal(shown(path), f"the file's name does not end in {end}", f"write NAME{end}")
    found = look(args.overrides, [args.config_dir] if args.config_dir else [])
    if args.json:
        as_json.say([plain(one) for one in found])
    else:
        for one in found:
            show(one)
    if args.csv:
        table = pd.concat([one.table.assign(arm=one.label) for one in found], ignore_index=True)
        with published(Path(args.csv)) as temporary:
            table.to_csv(temporary, index=False)
    if args.plot:
        plot(found, Path(args.plot))
        print(f"plot: {args.plot}", file=sys.stderr if args.json else sys.stdout)
    return 0


def plain(one: Inspection) -> dict[str, Any]:
    """An arm for scripts."""
    told = {name: getattr(one, name) for name in ("setting", "trouble", "diagnosis", "loss", "notes")}
    return {"arm": one.label, **told, "layers": one.table}


SHOWN = {  # column of the table -> head in the terminal; the last ones are left out first where it is narrow
    "layer": "", "name": "name", "slot": "slot", "uses": "uses", "shape": "shape", "stored": "stored", "mean": "mean", "std": "std",
    "norm": "norm", "forward size": "forward", "forward x theory": "/theory", "backward size": "backward",
    "backward x theory": "/theory", "dead": "dead", "saturated": "satur.", "flag": "flag",
}  # fmt: skip
SIZES = "forward, backward: size of a signal, the root of its median mean square; /theory: mean square / the predicted"
NARROW = ("stored", "mean", "norm", "uses")  # left out below 100 columns


def show(one: Inspection) -> None:
    """The table in the terminal, and the diagnosis under it."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from initbench.cli.terminal import Terminal

    console = Terminal(width=None if sys.stdout is not None and sys.stdout.isatty() else 140)
    seeds = len(one.signals.loss)
    title = f"{one.label}: {', '.join(one.setting.split(', ')[:2])}, step 0, {seeds} seeds"
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    names = [name for name in SHOWN if not empty(one.table, name) and (console.width >= 100 or name not in NARROW)]
    for name in names:
        left = name in ("name", "slot", "shape", "flag")
        table.add_column(SHOWN[name], justify="left" if left else "right", no_wrap=name != "flag")
    for row in one.table[names].to_dict("records"):
        table.add_row(*(cell(value) for value in row.values()))
    console.print(table)
    console.print(SIZES)
    if one.loss:
        console.print(one.loss)
    for note in one.notes:
        console.print(f"note: {note}")
    console.print(f"{'trouble' if one.trouble else 'diagnosis'}: {one.diagnosis}")


def empty(table: pd.DataFrame, name: str) -> bool:
    """Whether a column says nothing: all unknown, no flags, no weight used twice."""
    column = table[name]
    if name == "slot":  # shown where it is another one than the layer's own
        return bool((table["uses"] == 1).all())
    return bool(
        (column == "").all() if name == "flag" else (column == 1).all() if name == "uses" else column.isna().all()
    )


def cell(value: Any) -> str:
    """A number with two digits; nothing where it is unknown."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.2g}"
    return str(value)


def plot(found: Sequence[Inspection], path: Path) -> None:
    """Forward and backward mean squares by layer, one row per arm, with what theory says dashed."""
    from initbench.report.figures.why import flow, light_svg
    from initbench.report.svg import drawing

    panels = [(one.label, step_zero(one.signals)) for one in found[:8]]
    with drawing():
        text = light_svg(flow(panels), "Signals at step 0, layer by layer")
    write_text(path, text)


def step_zero(s: Signals) -> dict[str, Any]:
    """Mean, 95% interval and theory by layer, for the figure."""
    from initbench.report.why import mean_interval, predicted_backward

    out: dict[str, Any] = {}
    for name in ("preactivation_msq", "backward_msq"):
        mean, low, high = mean_interval(s.values[name])
        out[name] = {"layer": list(s.layers[name]), "mean": mean, "low": low, "high": high}
    theory = s.theory or {}
    out["preactivation_msq"]["theory"] = theory.get("preactivation_msq")
    out["backward_msq"]["theory"] = predicted_backward(theory.get("backward_factor"), out["backward_msq"]["mean"])
    return out


if __name__ == "__main__":
    sys.exit(main())
