"""The site and its pages are true: tutorials and notebooks run, links lead somewhere, names have one form of docstring."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest

import initbench as ib
from initbench.__main__ import main
from initbench.overrides.expand import expand
from initbench.overrides.read import completed
from initbench.store import schemas

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
# what makes a study a matter of a second; the commands themselves stay as they are
SMALL = ["seeds=2", "optim.lr=0.1", "train.steps=2", "engine.workers=1", "measure=none", "track.uri=null",
         "report.formats=[csv]"]  # fmt: skip
WRITTEN = re.compile(r"# ([\w/]+\.\w+)\n")  # the first line of a file that a page tells a person to write


def blocks(page: Path) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@cache
def hook(name: str) -> ModuleType:
    """A module of docs/_site."""
    spec = importlib.util.spec_from_file_location(f"docs_site_{name}", DOCS / "_site" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ------------------------------------------------------------------------------------------------ what is typed


@pytest.fixture
def small(folder, monkeypatch):
    """An empty folder in which studies are small and nothing is shown in a window."""
    run = ib.run
    monkeypatch.setattr(
        "initbench.study.command.run", lambda overrides=(), *rest: run(completed(overrides, fixed=SMALL), *rest)
    )
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    matplotlib.use("agg")
    return folder


def typed(line: str) -> int:
    """A command line in this process; its exit status."""
    python, flag, module, *arguments = shlex.split(line)
    assert (python, flag) == ("python", "-m"), line
    if module == "initbench":
        flags = [one for one in arguments if one.startswith("--")]
        overrides = [one for one in arguments if one not in flags]
        assert expand(overrides), line
        once = [one for one in overrides if not one.startswith("decide")]  # how it goes on: test_decide.py
        return main([*completed(once, fixed=SMALL), *flags])
    if module == "initbench.inspect":
        arguments = completed(arguments, fixed=["seeds=2"])
    if module == "initbench.report":
        arguments = [one.replace("html", "csv") for one in arguments]  # drawn in test_report.py
    there = importlib.import_module(module if module != "initbench.report" else "initbench.report.__main__")
    return int(there.main(arguments))


def follow(page: Path, space: dict[str, Any]) -> None:
    """Do what a page says, block by block."""
    for language, body in blocks(page):
        if language == "python" and (name := WRITTEN.match(body)):
            Path(name[1]).write_text(body, encoding="utf-8")
        elif language == "python":
            exec(body, space)
        elif language == "bash":
            for line in body.splitlines():
                script = re.fullmatch(r"python (\w+\.py)", line)
                if script is None:
                    assert typed(line) == 0, line
                else:
                    exec(
                        compile(Path(script[1]).read_text(encoding="utf-8"), script[1], "exec"),
                        {"__name__": "__main__"},
                    )


LONG = pytest.mark.long  # also run by .github/workflows/pages.yml


@LONG
@pytest.mark.parametrize("page", ["notebook", "class", "own_data", "script"])
def test_a_tutorial_does_what_it_says(page, small, capsys):
    space: dict[str, Any] = {"__name__": "a_page"}
    follow(DOCS / "tutorials" / f"{page}.md", space)
    assert "Traceback" not in capsys.readouterr().err
    for name in re.findall(r"study=(\w+)", (DOCS / "tutorials" / f"{page}.md").read_text(encoding="utf-8")):
        assert (small / "outputs" / name / "study.json").is_file()


@LONG
def test_the_course_does_what_it_says(small):
    follow(DOCS / "course" / "README.md", {"__name__": "a_page"})


TAUGHT = [*sorted((DOCS / "tutorials").glob("*.md")), DOCS / "course" / "README.md"]


@pytest.mark.parametrize("page", TAUGHT, ids=lambda page: page.stem)
def test_the_studies_of_a_page_are_understood(page, folder, monkeypatch):
    """Quick: no key or option is misspelt. The pages are followed word for word by the two tests above."""
    np.savez("mine.npz", x=np.eye(40, 3), y=np.arange(40) % 2)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    lines = [line for language, body in blocks(page) if language == "bash" for line in body.splitlines()]
    for name, body in ((found[1], body) for _, body in blocks(page) if (found := WRITTEN.match(body))):
        Path(name).write_text(body, encoding="utf-8")
    for line in lines:
        python, *words = shlex.split(line)
        assert python == "python"
        if words[:2] == ["-m", "initbench"]:
            assert expand([word for word in words[2:] if not word.startswith("--")]), line
        elif words[0] == "-m":
            assert importlib.util.find_spec(words[1]), line


# ------------------------------------------------------------------------------------------------ notebooks


NOTEBOOKS = hook("notebooks").PAGES


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_its_page_and_has_no_outputs(name):
    written = (DOCS / "notebooks" / name).read_text(encoding="utf-8")
    assert written == hook("notebooks").written(NOTEBOOKS[name]), "run: python docs/_site/notebooks.py"
    made = json.loads(written)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in made["cells"])
    assert len(made["cells"]) > 8


@pytest.mark.parametrize(
    "name", [name for name in NOTEBOOKS if ".zh" not in name]
)  # its code is that of the English one
def test_a_notebook_runs(name, small):
    made = json.loads((DOCS / "notebooks" / name).read_text(encoding="utf-8"))
    space: dict[str, Any] = {}
    for cell in made["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), space)


def test_both_languages_of_a_notebook_have_the_same_code():
    code = [
        [cell["source"] for cell in json.loads((DOCS / "notebooks" / name).read_text(encoding="utf-8"))["cells"]
         if cell["cell_type"] == "code"]
        for name in ("parameter_management.ipynb", "parameter_management.zh.ipynb")
    ]  # fmt: skip
    assert code[0] == code[1]


# ------------------------------------------------------------------------------------------------ docstrings


SECTIONS = ["Formula", "Args", "Returns", "Raises", "Examples", "Source"]
FUNCTIONS = [name for name in ib.__all__ if inspect.isfunction(getattr(ib, name))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_that_a_person_imports_has_the_one_form(name):
    function = getattr(ib, name)
    doc = inspect.getdoc(function) or ""
    assert re.fullmatch(r"[A-Z].*\.", doc.splitlines()[0]), "the first line is a sentence"
    found = re.findall(r"^(\w+):$", doc, re.MULTILINE)
    assert found == [one for one in SECTIONS if one in found], "sections in one order, each once"
    assert set(SECTIONS) - set(found) <= {"Formula"}
    arguments = doc.split("\nArgs:\n")[1].split("\n\n")[0]
    assert re.findall(r"^    (\w+):", arguments, re.MULTILINE) == list(inspect.signature(function).parameters)
    assert ">>> " in doc.split("\nExamples:\n")[1]
    raises = re.findall(r"^    (\w+):", doc.split("\nRaises:\n")[1].split("\n\n")[0], re.MULTILINE)
    assert raises
    assert set(raises) <= {"InputError", "NotApplicable"}


@pytest.mark.parametrize("name", ["Results", "InputError", "NotApplicable"])
def test_a_class_that_a_person_imports_has_an_example(name):
    doc = inspect.getdoc(getattr(ib, name)) or ""
    assert ">>> " in doc.split("\nExamples:\n")[1]


def test_nothing_that_a_person_imports_is_left_out():
    assert {*FUNCTIONS, "Results", "InputError", "NotApplicable", "stats", "theory"} == set(ib.__all__)


# ------------------------------------------------------------------------------------------------ links, files of a study


PAGES = [
    *(path.relative_to(ROOT).as_posix() for path in sorted(DOCS.rglob("*.md"))),
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"),
    *("experiments/README.md", "experiments/SURPRISES.md"),
]


@pytest.mark.parametrize("page", PAGES)
def test_links_of_pages_lead_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)#\s]+)", text):
        assert re.match(r"https?:", link) or (ROOT / page).parent.joinpath(link).exists(), link


@pytest.mark.parametrize("name", schemas.SCHEMAS)
def test_a_schema_is_what_the_code_writes(name):
    written = (DOCS / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8")
    assert written == schemas.text(name), "run: python -m initbench.store.schemas docs/schemas"


def test_a_study_fits_its_schemas_and_a_wrong_one_does_not(small):
    jsonschema = pytest.importorskip("jsonschema")
    assert typed("python -m initbench init=eye,dirac sharing=none,all study=s") == 1  # dirac does not apply
    found = small / "outputs" / "s"
    study = json.loads((found / "study.json").read_text(encoding="utf-8"))
    check = {name: jsonschema.Draft202012Validator(one()) for name, one in schemas.SCHEMAS.items()}
    for validator in check.values():
        validator.check_schema(validator.schema)
    check["study"].validate(study)
    for name in ("runs", "history"):
        frame = pd.read_parquet(found / f"{name}.parquet").astype(object)
        rows = json.loads(frame.where(frame.notna(), None).to_json(orient="records"))
        for row in rows[:200]:
            check[name].validate(row)
        assert check[name].is_valid({**rows[0], "run": 1}) is False
    assert not check["study"].is_valid({**study, "arms": [{**study["arms"][0], "status": "lost"}]})
    assert not check["study"].is_valid({key: value for key, value in study.items() if key != "created"})


# ------------------------------------------------------------------------------------------------ the site


def test_the_pictures_of_verdicts_say_what_the_page_says():
    sys.path.insert(0, str(DOCS / "_site"))
    try:
        figures = hook("verdict_figures").FIGURES
    finally:
        sys.path.remove(str(DOCS / "_site"))
    page = (DOCS / "verdicts.md").read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- figure: (\w+) -->", page)) == set(figures)
    said = {name: re.findall(r'aria-label="([^"]*)"', draw())[0] for name, draw in figures.items()}
    words = re.findall(r"x, (\w+)", said["words"])
    assert words == ["faster", "slower", "equivalent", "undecided"]
    missed = int(re.findall(r"(\d+) intervals miss", said["intervals"])[0])
    assert 1 <= missed <= 5  # of 40, at 5%
    alone, corrected = map(int, re.findall(r"(\d+)%", said["many"]))
    assert alone > 55
    assert corrected <= 6


TAGS = (
    "html head meta link title body div header nav label svg path form input button a main article h1 h2 h3 h4 p code pre "
    "span ul ol li em strong b small br table thead tbody tr th td img blockquote details summary footer "
    "rect text line circle"
)  # of the theme, of Markdown and of docs/_site


@pytest.mark.long
@pytest.mark.needs_mkdocs
def test_the_site_is_built_without_network_and_loads_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("mkdocs", reason="needs the extra `docs`")
    pytest.importorskip("material", reason="needs the extra `docs`")
    from initbench.initializers import REGISTRY

    command = [sys.executable, "-m", "mkdocs", "build", "-q", "-d", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 60
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe)[^>]*?\ssrc=\"?(https?:[^\s\">]+)", text)
        loaded += re.findall(r"<link[^>]*rel=\"?(?:stylesheet|preconnect|preload)[^>]*href=\"?(https?:[^\s\">]+)", text)
        assert not loaded, page
        assert 'data-md-component="source"' not in text, "the theme would ask GitHub for stars"
        shown = re.sub(r"<(script|style)\b.*?</\1>", "", text, flags=re.DOTALL)
        assert set(re.findall(r"<([A-Za-z][\w.-]*)", shown)) <= set(TAGS.split()), f"{page}: <x, y> must be &lt;x, y>"
    index = json.loads((tmp_path / "site/search/search_index.json").read_text(encoding="utf-8"))
    titles = {entry["title"] for entry in index["docs"] if entry["location"].startswith("catalogue.html#")}
    assert set(REGISTRY) <= titles
    assert (tmp_path / "site/weights/orthogonal.png").read_bytes()[:4] == b"\x89PNG"
