"""What a Hydra launcher can do: where its jobs run, how many share a study, and with how many processors each."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from initbench.config.checks import check_number, check_whole
from initbench.errors import InputError, refusal, shown
from initbench.own.code import line
from initbench.startup.processes import cores

# the class of a launcher -> where its jobs run, and the package that has it; an option file of your own names the class too
KINDS = {
    "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher": ("joblib", "hydra-joblib-launcher"),
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher": ("local", "hydra-submitit-launcher"),
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher": ("slurm", "hydra-submitit-launcher"),
}
OWN_KEYS = ("tasks",)  # of conf/hydra/launcher, which the class does not take
WHOLE = ("tasks", "cpus_per_task", "timeout_min", "array_parallelism", "gpus_per_node")  # from 1, or null
FROM_ZERO = ("max_num_timeout", "signal_delay_s")


@dataclass(frozen=True)
class Launcher:
    """The launcher of a command: the option's name, and its values."""

    name: str
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """joblib, local or slurm; empty for Hydra's own and those that are not known here."""
        return KINDS.get(str(self.values.get("_target_")), ("", ""))[0]

    @property
    def detaches(self) -> bool:
        """Whether its jobs outlive the command that submits them."""
        return self.kind in ("local", "slurm")

    @property
    def at_once(self) -> int:
        """How many jobs of joblib run at once."""
        asked = self.values.get("n_jobs") or 1
        return cores() if asked < 0 else asked

    @property
    def cpus(self) -> int:
        """Processors of one of its jobs, asked in that job: never more than it may use."""
        asked = self.values.get("cpus_per_task")
        if self.kind == "joblib":
            return max(1, cores() // self.at_once)
        if self.kind == "slurm":
            asked = asked or int(os.environ.get("SLURM_CPUS_PER_TASK", 1))
        return min(asked or cores(), cores())

    def tasks(self, arms: int) -> int | None:
        """How many jobs share so many arms; None: one for each."""
        usual = {"local": max(1, cores() // self.cpus), "joblib": max(arms, self.at_once)}
        return self.values.get("tasks") or usual.get(self.kind)


def launcher_of(hydra: Any) -> Launcher:
    """The launcher of Hydra's own node."""
    from omegaconf import OmegaConf

    values: Any = OmegaConf.to_container(hydra.launcher, resolve=False)
    return Launcher(str(hydra.runtime.choices.get("hydra/launcher")), values)


def check_launcher(launcher: Launcher) -> None:
    """Refuse a launcher that is not there, and values that it cannot take."""
    what, target = f"hydra/launcher={shown(launcher.name)}", str(launcher.values.get("_target_"))
    if target not in KINDS:
        return
    if find_spec("hydra_plugins") is None or find_spec(".".join(target.split(".")[:2])) is None:
        package = KINDS[target][1]
        raise refusal(what, f"it needs the package {package}", f"install it: python -m pip install {package}")
    for key, value in launcher.values.items():
        shows = f"hydra.launcher.{key}"
        if key in WHOLE and value is not None:
            check_whole(shows, value, 1, " or null")
        if key in FROM_ZERO:
            check_whole(shows, value, 0)
        if key == "mem_gb" and value is not None:
            check_number(shows, value, above=0, note=" or null")
    jobs = launcher.values.get("n_jobs", 1)
    if launcher.kind == "joblib" and (not isinstance(jobs, int) or isinstance(jobs, bool) or jobs == 0 or jobs < -1):
        raise refusal(f"hydra.launcher.n_jobs={shown(jobs)}", "not allowed", "must be a whole number, 1 or more, or -1")
    if launcher.kind == "slurm" and shutil.which("sbatch") is None:
        raise refusal(what, "no sbatch here", "run it where jobs are submitted to Slurm, or use another launcher")


def check_detach(launcher: Launcher, goes_on: bool) -> None:
    """Refuse --detach where nothing would go on once the command has ended."""
    if not launcher.detaches:
        do = "add hydra/launcher=submitit_slurm or submitit_local, or leave it out"
        raise refusal("--detach", f"the jobs of hydra/launcher={shown(launcher.name)} end with the command", do)
    if goes_on:
        why = "decide=true and optim.lr=auto choose what is trained next by what came out"
        raise refusal("--detach", why, "leave it out: the command submits each round and waits for it")


def not_taken(launcher: Launcher, error: Exception) -> InputError:
    """The refusal of jobs that Slurm does not take, in its own words."""
    lines = [text.split("error: ", 1)[-1].strip() for text in str(error).splitlines() if text.strip()]
    said = lines[0] if lines else type(error).__name__
    return refusal(
        f"hydra/launcher={shown(launcher.name)}", f"Slurm does not take the jobs: {said}", "change hydra.launcher.KEY"
    )


def broken_down(error: Exception) -> str:
    """Why a launcher whose jobs end with the command has broken down: of joblib, all processes end with one.

    >>> broken_down(BrokenProcessPool("A worker process was terminated.\\n\\nThe exit codes of the workers are {SIGKILL(-9)}"))
    'a process of the launcher was killed, SIGKILL(-9), and the others ended with it; run the same command again'
    """
    if not isinstance(error, BrokenProcessPool):
        return f"the launcher failed: {line(error)}"
    codes = re.search(r"\{(.*)\}", str(error))
    how = f", {codes[1]}," if codes else ""
    return f"a process of the launcher was killed{how} and the others ended with it; run the same command again"
