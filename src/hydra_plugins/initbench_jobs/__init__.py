"""Hydra finds plugins in the package `hydra_plugins`: the sweeper that hands a launcher the jobs of a planned study."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class PlannedJobs(Sweeper):
    """The plan has composed every job, refused what is wrong and left out what is stored: nothing is expanded here."""

    jobs: Sequence[Sequence[str]] = ()  # the overrides of each job; set by the command before it starts Hydra

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        assert self.launcher is not None
        done = self.launcher.launch([list(job) for job in self.jobs], initial_job_idx=0)
        return [job.return_value for job in done]  # raises what a job raised


@dataclass
class PlannedJobsConfig:
    """`hydra/sweeper=initbench`; `params` are the axes of an experiment file, which the plan has read."""

    _target_: str = "hydra_plugins.initbench_jobs.PlannedJobs"
    params: dict[str, Any] = field(default_factory=dict)


ConfigStore.instance().store("initbench", PlannedJobsConfig, group="hydra/sweeper", provider="initbench")
