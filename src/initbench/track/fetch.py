"""A study back from MLflow: the frames that hang on its run named `report`."""

from __future__ import annotations

from pathlib import Path

from initbench.config.checks import one_of
from initbench.errors import masked, refusal, shown
from initbench.track.answers import nothing_at, said, unreachable
from initbench.track.opening import client_of, failures, prepare, quiet
from initbench.track.store import experiment_name

NEEDED = ("runs.parquet", "history.parquet", "study.json")


def fetch(experiment: str, uri: str, folder: Path) -> Path:
    """Download what a report is built from into `folder`; gives the folder.

    Raises InputError if the store cannot be reached, or has no such experiment, or no frames are attached to it.
    """
    elsewhere = "repeat the study with track.uri on, or name its store with --uri"
    if why := nothing_at(uri):
        raise refusal(f"mlflow:{shown(experiment)}", why, elsewhere)
    if why := unreachable(uri):
        raise refusal(f"mlflow:{shown(experiment)}", why, "start the server, or name another store with --uri")
    with quiet():
        prepare()
        try:
            client = client_of(uri)
            found = client.get_experiment_by_name(experiment_name(experiment)) or client.get_experiment_by_name(
                experiment
            )
            if found is None:
                names = sorted(one.name for one in client.search_experiments() if one.name != "Default")
                raise refusal(
                    f"mlflow:{shown(experiment)}",
                    f"no such experiment in {masked(uri)}",
                    one_of(experiment, names) if names else elsewhere,
                )
            runs = client.search_runs([found.experiment_id], "tags.`initbench.kind` = 'report'", max_results=1)
            there = {file.path for run in runs for file in client.list_artifacts(run.info.run_id)}
            missing = [name for name in NEEDED if name not in there]
            if missing:
                raise refusal(
                    f"mlflow:{shown(experiment)}",
                    f"{', '.join(missing)} not attached to its run `report` in {masked(uri)}",
                    "repeat the study's command, which attaches them",
                )
            folder.mkdir(parents=True, exist_ok=True)
            for name in NEEDED:
                client.download_artifacts(runs[0].info.run_id, name, str(folder))
        except failures() as error:
            raise refusal(f"mlflow:{shown(experiment)}", said(error), "check the tracking URI, --uri") from None
    return folder
