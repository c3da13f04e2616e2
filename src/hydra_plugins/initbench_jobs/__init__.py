"""Hydra finds plugins in the package `hydra_plugins`: the sweeper that hands a launcher the jobs of a planned study."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from io import StringIO
from typing import Any, ClassVar

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict


class PlannedJobs(Sweeper):
    """The plan has composed every job, refused what is wrong and left out what is stored: nothing is expanded here."""

    jobs: Sequence[Sequence[str]] = ()  # the overrides of each job; set by the command before it starts Hydra
    not_for_launcher: Sequence[str] = ()  # keys of the launcher's option that are the command's own
    submitted: ClassVar[list[Any]] = []  # submitit's jobs, for which the command waits itself

    def __init__(self, params: dict[str, Any], arms: str) -> None:
        self.params = params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        config = deepcopy(config)
        with open_dict(config.hydra.launcher):
            for key in self.not_for_launcher:
                config.hydra.launcher.pop(key, None)
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        assert self.launcher is not None
        with not_waiting(self.launcher, self.submitted):
            done = self.launcher.launch([list(job) for job in self.jobs], initial_job_idx=0)
        return [job.return_value for job in done]  # raises what a job raised


@contextmanager
def not_waiting(launcher: Any, submitted: list[Any]) -> Iterator[None]:
    """Inside: a launcher of submitit returns once its jobs are submitted, and they stand in the list.

    It has no switch for that, and it would wait for a job for ever where Slurm keeps no accounts.
    """
    if "submitit" not in type(launcher).__module__:
        yield
        return
    import subprocess

    from submitit import Job

    from initbench.overrides.hydra_parts import replaced

    nowhere = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    apart = partial(subprocess.Popen, start_new_session=True, **nowhere)
    local = type(launcher).__name__ == "LocalLauncher"  # its processes outlive this one: no Ctrl-C, no pipe of it

    def noted(job: Any) -> list[JobReturn]:
        submitted.append(job)
        return [JobReturn(status=JobStatus.COMPLETED)]

    with (
        replaced(Job, "results", noted),
        replaced(subprocess, "Popen", apart) if local else nullcontext(),
        redirect_stderr(StringIO()),  # what sbatch says is in its exception
    ):
        yield


@dataclass
class PlannedJobsConfig:
    """`hydra/sweeper=initbench`; `params` are the axes of an experiment file, which the plan has read, `arms` the overrides
    of further arms of a job."""

    _target_: str = "hydra_plugins.initbench_jobs.PlannedJobs"
    params: dict[str, Any] = field(default_factory=dict)
    arms: str = "[]"


ConfigStore.instance().store("initbench", PlannedJobsConfig, group="hydra/sweeper", provider="initbench")
