"""The flags of the command line: Hydra's, by a parser of our own.

Hydra 1.3 describes a flag by an object that is no text, which argparse refuses from Python 3.14 on. And some of its
flags mean nothing here: a command always sweeps, over our configuration.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from initbench import __version__
from initbench.errors import refusal

SHOWING = ("cfg", "info", "hydra_help", "shell_completion")  # print something instead of training
REFUSED = {
    "run": "leave it out, a command always sweeps",
    "config_path": "use --config-dir DIR to add your own option files",
    "config_name": "use experiment=NAME to choose a prepared study",
    "experimental_rerun": "use the command in study.json to run a study again",
}
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")


class Parser(argparse.ArgumentParser):
    """argparse for every command: flags stand anywhere among the words, `--version` is initbench's, and what is wrong is
    refused in one line."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        if self.add_help:  # else every flag is the command's own
            self.add_argument(
                "--version", action="version", version=f"initbench {__version__}", help="show the version"
            )

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Flags after some of the words too, which argparse by itself takes for the end of them."""
        found, left = self.parse_known_intermixed_args(args, namespace)
        if left:
            unknown = [text for text in left if text.startswith("-")] or left  # what follows a flag may be a word
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found

    def error(self, message: str) -> NoReturn:
        raise refusal("command line", message, f"see {self.prog} --help")


def parser() -> argparse.ArgumentParser:
    """Every flag of Hydra's by the same name, since Hydra reads what this parser gives."""
    made = Parser(prog="python -m initbench", add_help=False)
    add = made.add_argument
    add("overrides", nargs="*", help="key=value; key=a,b sweeps the values")
    add("--help", "-h", action="store_true", help="Groups, options and keys of initbench")
    add("--hydra-help", action="store_true", help="This text")
    add("--version", action="version", version=f"initbench {__version__}", help="Version of initbench")
    add("--config-dir", "-cd", help="A folder with option files of your own, e.g. init/mine.yaml")
    add("--json", action="store_true", help="With train.dry_run=true: what it says as JSON on stdout")
    add(
        "--detach",
        action="store_true",
        help="With hydra/launcher=submitit_slurm or submitit_local: do not wait for the jobs",
    )
    add("--cfg", "-c", choices=("job", "hydra", "all"), help="Show the configuration instead of training")
    add("--resolve", action="store_true", help="With --cfg: interpolations resolved")
    add("--package", "-p", help="With --cfg: the part to show")
    add("--info", "-i", nargs="?", const="all", choices=INFO, help="Show how the configuration is composed")
    add("--shell-completion", "-sc", action="store_true", help="With install=bash (fish, zsh), or uninstall=bash")
    add("--multirun", "-m", action="store_true", help="Changes nothing: a command always sweeps")
    add("--run", "-r", action="store_true", help="Refused: " + REFUSED["run"])
    add("--config-path", "-cp", help="Refused: " + REFUSED["config_path"])
    add("--config-name", "-cn", help="Refused: " + REFUSED["config_name"])
    add("--experimental-rerun", help="Refused: " + REFUSED["experimental_rerun"])
    return made


def flag(name: str) -> str:
    """How an attribute's flag is typed.

    >>> flag("config_dir")
    '--config-dir'
    """
    return f"--{name.replace('_', '-')}"


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line, checked; what would have no effect raises InputError as well.

    >>> arguments(["--cfg", "job", "seeds=3"]).overrides
    ['seeds=3']
    >>> arguments(["--resolve"])
    Traceback (most recent call last):
    initbench.errors.InputError: --resolve: it has no effect without --cfg; add --cfg job
    """
    args = parser().parse_args(argv)
    for name, instead in REFUSED.items():
        if getattr(args, name) not in (False, None):
            raise refusal(flag(name), "not available", instead)
    for name in ("resolve", "package"):
        if getattr(args, name) not in (False, None) and not args.cfg:
            raise refusal(flag(name), "it has no effect without --cfg", "add --cfg job")
    asked = [flag(name) for name in (*SHOWING, "multirun") if getattr(args, name)]
    if len(asked) > 1:
        raise refusal(" ".join(asked), "only one of them can be used at a time", f"leave out {asked[-1]}")
    if args.json and any(getattr(args, name) for name in SHOWING):
        raise refusal("--json", "it has no effect without train.dry_run=true", "leave it out")
    if args.detach and any(getattr(args, name) for name in SHOWING):
        raise refusal("--detach", "nothing is trained", "leave it out")
    return args
