"""The state of jobs that outlive a command: of Slurm, and of processes on this machine.

Slurm forgets a job some minutes after its end, and its accounts, which do not, are not kept everywhere: what neither
knows any more has ended.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from os import WNOHANG, waitpid

from initbench.errors import printable, refusal

# states of Slurm in which a job may still train something
ALIVE = (
    *("PENDING", "RUNNING", "SUSPENDED", "CONFIGURING", "COMPLETING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD"),
    *("RESIZING", "SIGNALING", "SPECIAL_EXIT", "STAGE_OUT", "STOPPED", "RESV_DEL_HOLD"),
)
GONE = "ended"  # and nobody knows how
PATIENCE = 60  # seconds for an answer of Slurm
QUEUE = ["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%r"]
ACCOUNTS = ["sacct", "--noheader", "--array", "--allocations", "--parsable2", "--format=JobID,State"]


class NoAnswer(Exception):
    """Slurm does not answer now."""


def alive(state: str) -> bool:
    """Whether a job in this state may still train something.

    >>> alive("PENDING (Resources)"), alive("CANCELLED by 1000"), alive(GONE)
    (True, False, False)
    """
    return state.split(" ")[0] in ALIVE


def states(kind: str, jobs: Sequence[str]) -> dict[str, str]:
    """The state of each job by its id; raises NoAnswer."""
    return STATES[kind](jobs) if jobs else {}


def slurm(jobs: Sequence[str]) -> dict[str, str]:
    """States of jobs of Slurm, of those that wait with the reason.

    Raises InputError where there is no Slurm, and NoAnswer.
    """
    found: dict[str, str] = {}
    for command in (QUEUE, ACCOUNTS):
        left = [job for job in jobs if job not in found]
        if left:
            arrays = ",".join(sorted({job.split("_")[0] for job in left}))
            answer = dict(map(state_of, said([*command, f"--jobs={arrays}"]).splitlines()))
            found |= {job: answer[job] for job in left if job in answer}
    return {job: found.get(job, GONE) for job in jobs}


def said(command: Sequence[str]) -> str:
    """What a command of Slurm answers; nothing for jobs that it has forgotten, and for accounts that are not kept."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except FileNotFoundError:
        if command[0] == "sacct":
            return ""
        do = "run it where jobs are submitted to Slurm"
        raise refusal("hydra/launcher=submitit_slurm", f"jobs of this study are in Slurm, and {command[0]} is not here", do) from None  # fmt: skip
    except subprocess.TimeoutExpired:
        raise NoAnswer(f"{command[0]} gives no answer") from None
    if done.returncode and command[0] != "sacct" and "Invalid job id" not in done.stderr:
        raise NoAnswer(printable(done.stderr.strip()))
    return "" if done.returncode else done.stdout


def state_of(line: str) -> tuple[str, str]:
    """
    >>> state_of("17_3|PENDING|Resources"), state_of("17_4|RUNNING|None"), state_of("17_5|CANCELLED by 1000")
    (('17_3', 'PENDING (Resources)'), ('17_4', 'RUNNING'), ('17_5', 'CANCELLED by 1000'))
    """
    job, _, rest = line.partition("|")
    state, _, reason = rest.partition("|")
    return job, f"{state} ({reason})" if state == "PENDING" and reason not in ("", "None") else state


def processes(jobs: Sequence[str]) -> dict[str, str]:
    """States of the processes that control the jobs of submitit_local; a number that another program has by now is none."""
    for job in jobs:
        with suppress(ChildProcessError):  # of this command: it is not kept as a zombie
            waitpid(int(job), WNOHANG)
    done = subprocess.run(["ps", "-o", "pid=,stat=,command=", "-p", ",".join(jobs)], capture_output=True, text=True)
    found = dict.fromkeys(jobs, GONE)
    for line in done.stdout.splitlines():
        job, state, *command = line.split(None, 2)
        if not state.startswith("Z") and "submitit" in "".join(command):
            found[job] = "RUNNING"
    return found


STATES: Mapping[str, Callable[[Sequence[str]], dict[str, str]]] = {"slurm": slurm, "local": processes}
