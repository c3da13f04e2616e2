"""The text of --help: groups and options, each with the one line that its file begins with."""

from __future__ import annotations

from importlib.metadata import EntryPoint, version
from pathlib import Path

from initbench.disk import conf_folder
from initbench.own.plugins import INITIALIZERS, SHARING, installed, source

USAGE = """\
python -m initbench [key=value ...]     sweep, train, track and report; key=a,b sweeps the values

  python -m initbench                                      the default study, about a minute
  python -m initbench experiment=quick                     a first look in seconds
  python -m initbench init=xavier_normal,orthogonal sharing=none,all seeds=20 'optim.lr=[0.03,0.1,0.3,1]'
  python -m initbench init=my_module.my_init,kaiming_normal       your own function from the current folder
  python -m initbench init=orthogonal,kaiming_normal decide=true decide.minutes=60   go on until it is decided
  python -m initbench sharing=my_module.my_sharing                your own scheme: (config, layers) -> groups of layers
  python -m initbench.report outputs/default               write the report of a study again

Flags: --config-dir DIR (your own option files, e.g. DIR/init/mine.yaml), --cfg job (show the configuration),
--json (with train.dry_run=true), --hydra-help (Hydra's own), --version; eval "$(initbench -sc install=bash)" makes Tab complete
groups, options and keys of the command initbench. The same command again trains only what is missing.
"""


def help_text() -> str:
    """Usage, then every group with its options, then the keys."""
    folder = conf_folder()
    parts = [USAGE]
    for group in sorted({path.parent for path in folder.glob("*/**/*.yaml")}):
        parts.append(f"{group.relative_to(folder).as_posix()}=")
        width = max(len(path.stem) for path in group.glob("*.yaml"))
        parts += [f"  {path.stem:<{width}}  {meaning(path)}" for path in sorted(group.glob("*.yaml"))]
        parts += [f"  {point.name:<{width}}  from {source(point)}" for point in found(group.name)]
        parts.append("")
    parts.append("keys (conf/config.yaml):")
    body = (folder / "config.yaml").read_text(encoding="utf-8").split("\n\n", 1)[1].split("\nhydra:")[0]
    parts += [f"  {line}" for line in body.splitlines() if line.strip()]
    return "\n".join(parts)


def version_text() -> str:
    """What `--version` shows.

    >>> version_text().startswith("initbench ")
    True
    """
    from initbench import __version__

    return f"initbench {__version__} (torch {version('torch')}, hydra {version('hydra-core')})"


def found(group: str) -> list[EntryPoint]:
    """What installed packages add to a group."""
    names = {"init": INITIALIZERS, "sharing": SHARING}
    return list(installed(names[group]).values()) if group in names else []


def meaning(path: Path) -> str:
    """The first comment of an option file that says something, e.g. its command for experiments."""
    comments = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line.lstrip("# ").strip()
        if text and not text.startswith("@"):
            comments.append(text)
    return (comments[-1] if path.parent.name == "experiment" else comments[0]) if comments else ""
