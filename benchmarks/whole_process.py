"""A study as a whole, from the command to the last record: initbench against the loop that a careful user would write.

    python -m benchmarks.whole_process [--cells 1x100,10x10,16x25,100x10] [--rounds 3] [--processes 1,2]

A cell is arms x runs of each: initializers, shared or not (and, for 100 arms, ten depths), 6x64 on digits, 300 steps, lr
0.05. The loop: Hydra -m, one job per run, one nn.Sequential with torch.optim.SGD, the same network, steps and number of
evaluated samples and steps, mlflow.log_metrics of four metrics at every evaluation into SQLite. As usually run it is one
process; at its best it is one process per core, each with a part of the seeds and its own database. initbench is one
command with its default report. Peers take turns; wall and processor seconds (all processes) are printed. Run from the
top of the repository.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from benchmarks import clock

LOOP = """
import hydra, mlflow, torch
from omegaconf import OmegaConf
from torch import nn
from initbench.engine.schedule import evaluation_steps
from sklearn.datasets import load_digits

def filled(function, **options):
    def fill(layer):
        function(layer.weight, **options)
        nn.init.zeros_(layer.bias)
    return fill

INITS = {
    "torch_default": lambda layer: None,
    "normal_001": filled(nn.init.normal_, std=0.01),
    "xavier_uniform": filled(nn.init.xavier_uniform_),
    "xavier_normal": filled(nn.init.xavier_normal_),
    "kaiming_normal": filled(nn.init.kaiming_normal_, nonlinearity="relu"),
    "lecun_normal": filled(nn.init.kaiming_normal_, nonlinearity="linear"),
    "orthogonal": filled(nn.init.orthogonal_),
    "eye": filled(nn.init.eye_),
}

@hydra.main(version_base="1.3", config_path=None, config_name="loop")
def main(cfg):
    torch.set_num_threads(1)
    torch.manual_seed(cfg.seed)
    x, y = (torch.as_tensor(a) for a in load_digits(return_X_y=True))
    order = torch.randperm(len(x))
    x, y = (x[order].float() - 4.9) / 6.0, y[order]
    train, val = slice(0, 1437), slice(1437, 1797)
    sizes = [64] + [64] * cfg.depth + [10]
    layers = [m for n, k in zip(sizes, sizes[1:]) for m in (nn.Linear(n, k), nn.ReLU())]
    linears = [m for m in layers if isinstance(m, nn.Linear)]
    for m in linears:
        INITS[cfg.init](m)
    if cfg.sharing == "all":  # the hidden layers are one
        layers = [linears[1] if m in linears[1:-1] else m for m in layers]
    net = nn.Sequential(*layers[:-1])
    optimizer = torch.optim.SGD(net.parameters(), lr=cfg.lr)
    evaluated = set(evaluation_steps(300))
    mlflow.set_tracking_uri(cfg.uri)
    mlflow.set_experiment("loop")
    with mlflow.start_run():
        mlflow.log_params(OmegaConf.to_container(cfg))
        for step in range(301):
            if step in evaluated:
                with torch.no_grad():
                    found = {}
                    for name, part in (("train", slice(0, 512)), ("val", val)):
                        out = net(x[part])
                        found[f"loss/{name}"] = nn.functional.cross_entropy(out, y[part]).item()
                        found[f"accuracy/{name}"] = (out.argmax(1) == y[part]).float().mean().item()
                mlflow.log_metrics(found, step=step)
            index = torch.randint(0, 1437, (64,))
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[index]), y[index]).backward()
            optimizer.step()

main()
"""
EIGHT = "torch_default,normal_001,xavier_uniform,xavier_normal,kaiming_normal,lecun_normal,orthogonal,eye"
FIVE = "torch_default,xavier_normal,kaiming_normal,orthogonal,lecun_normal"
SWEEPS = {  # arms -> initializers, sharing, depths
    1: ("kaiming_normal", "none", "6"),
    10: (FIVE, "none,all", "6"),
    16: (EIGHT, "none,all", "6"),
    100: (FIVE, "none,all", "3,4,5,6,7,8,9,10,11,12"),
}


def loop(arms: int, runs: int, folder: Path, *, processes: int) -> list[list[str]]:
    """Commands of the careful user's loop, one per process; seeds are dealt out to them."""
    (folder / "loop.py").write_text(LOOP)
    (folder / "loop.yaml").write_text("seed: 0\nlr: 0.05\nuri: none\ninit: none\nsharing: none\ndepth: 6\n")
    init, sharing, depth = SWEEPS[arms]
    commands = []
    for i in range(processes):
        seeds = ",".join(map(str, range(i, runs, processes)))
        own = [f"uri=sqlite:///{folder}/loop{i}.db", f"hydra.sweep.dir={folder}/multirun{i}"]
        swept = [f"seed={seeds}", f"init={init}", f"sharing={sharing}", f"depth={depth}"]
        commands.append([sys.executable, "loop.py", "-m", "--config-dir", str(folder), *swept, *own])
    return commands


def ours(arms: int, runs: int, folder: Path) -> list[list[str]]:
    """The same runs by initbench."""
    init, sharing, depth = SWEEPS[arms]
    swept = [f"init={init}", f"sharing={sharing}", f"model.depth={depth}", "model.width=64", f"seeds={runs}"]
    command = [sys.executable, "-m", "initbench", *swept, "optim.lr=0.05"]
    return [[*command, f"outputs={folder}/outputs", f"track.uri=sqlite:///{folder}/ours.db"]]


def spent(commands: list[list[str]], folder: Path) -> tuple[float, float]:
    """Wall seconds of commands at once, and processor seconds of them and all they start."""
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    if len(commands) > 1:  # else Hydra's one process may use every core
        environment |= {"OMP_NUM_THREADS": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

    def run() -> bool:
        running = [subprocess.Popen(command, cwd=folder, env=environment, **quiet) for command in commands]  # type: ignore[call-overload]
        codes = [process.wait() for process in running]
        return any(codes)

    failed, wall, cpu = clock.spent(run)
    if failed:
        sys.exit(f"failed: {' '.join(commands[0])}")
    return wall, cpu


def once(commands: list[list[str]], runs: int, folder: Path) -> tuple[float, float]:
    """`spent`; ends the program unless every run is in MLflow, finished and with its curve of the training loss."""
    times = spent(commands, folder)
    sql = """SELECT COUNT(DISTINCT runs.run_uuid) FROM runs JOIN metrics ON runs.run_uuid = metrics.run_uuid
             WHERE status = 'FINISHED' AND metrics.key = 'loss/train'"""
    there = 0
    for file in folder.glob("*.db"):
        with closing(sqlite3.connect(file)) as database:
            there += database.execute(sql).fetchone()[0]
    if there < runs:
        sys.exit(f"{there} of {runs} runs are in MLflow: {' '.join(commands[0])}")
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", default="1x100,10x10,16x25,100x10")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", default=f"1,{os.cpu_count()}", help="how many share the loop")
    args = parser.parse_args()
    table([tuple(map(int, cell.split("x"))) for cell in args.cells.split(",")], args.rounds, args.processes)


def table(cells: list[tuple[int, ...]], rounds: int, processes: str) -> None:
    """Print a row per cell and peer, with the ratios of medians."""
    print("| arms x runs | who | wall s | cpu s | wall, times initbench | cpu, times initbench |")
    print("|---|---|---|---|---|---|", flush=True)
    for arms, runs in cells:
        peers: dict[str, Callable[[Path], list[list[str]]]] = {
            f"loop, {n} process(es)": partial(loop, arms, runs, processes=int(n)) for n in processes.split(",")
        }
        peers["initbench"] = partial(ours, arms, runs)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in peers}
        for _ in range(rounds):
            for name, commands in peers.items():
                with tempfile.TemporaryDirectory() as folder:
                    times[name].append(once(commands(Path(folder)), arms * runs, Path(folder)))
        wall, cpu = (
            {name: statistics.median(one[i] for one in values) for name, values in times.items()} for i in (0, 1)
        )
        for name in peers:
            ratios = (f"{spent_by[name] / spent_by['initbench']:.1f}" for spent_by in (wall, cpu))
            print(
                f"| {arms} x {runs} | {name} | {wall[name]:.1f} | {cpu[name]:.1f} | {' | '.join(ratios)} |", flush=True
            )


if __name__ == "__main__":
    main()
