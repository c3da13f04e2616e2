"""What an editor knows of the installed package, by its language server: every public name, its arguments, what comes back."""

from __future__ import annotations

import zipfile

import pytest

import initbench as ib

jedi = pytest.importorskip("jedi", reason="jedi, of the extra test, is not installed")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel's own files in an empty folder, with none of this project's settings."""
    from test_packaging import build

    folder = tmp_path_factory.mktemp("editor")
    wheel = build(tmp_path_factory.mktemp("wheel"), "wheel")
    zipfile.ZipFile(wheel).extractall(folder / "site")  # what installing does with a wheel of Python files alone
    assert (folder / "site/initbench/py.typed").is_file()
    project = jedi.Project(folder, added_sys_path=[str(folder / "site")], smart_sys_path=False)

    def completed(code: str) -> set[str]:
        return {one.name for one in jedi.Script(code, project=project).complete()}

    completed.project = project
    return completed


def test_every_public_name_is_completed(installed):
    names = installed("import initbench as ib\nib.")
    assert {*ib._HOME, "stats", "theory"} <= set(ib.__all__) <= names
    assert set(dir(ib)) >= set(ib.__all__)


def test_results_and_modules_are_known_by_their_types(installed):
    assert {"runs", "history", "leaderboard", "compare", "plot", "report"} <= installed(
        "import initbench as ib\nib.load('a')."
    )
    assert {"trouble", "line", "table"} <= installed("import initbench as ib\nib.diagnose(net, x).")
    assert {"wilson", "holm"} <= installed("import initbench as ib\nib.stats.")
    assert {"overrides", "progress"} <= {
        parameter.name
        for signature in jedi.Script("import initbench as ib\nib.run(", project=installed.project).get_signatures()
        for parameter in signature.params
    }
