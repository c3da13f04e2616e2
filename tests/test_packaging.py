"""What people install: the wheel has everything it needs, and the pinned versions are complete and consistent."""

from __future__ import annotations

import importlib.metadata as metadata
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import initbench
from initbench.cli.ending import answered
from initbench.startup import home

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# torch names exact versions of these itself; they exist for Linux with CUDA only
OF_TORCH = re.compile(r"(nvidia|cuda)-.*|triton")


def pins() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert len({canonicalize_name(one.name) for one in found}) == len(found)
    return {canonicalize_name(one.name): one for one in found}


def build(folder: Path, kind: str, source: Path = ROOT) -> Path:
    """The wheel or sdist of `source`, built without network."""
    command = [sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "--outdir", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build(tmp_path_factory.mktemp("wheel"), "wheel")


def sources() -> set[str]:
    """Every file as the wheel should name it: code, Hydra's plugin, templates and conf/; experiments/ is for clones."""
    code = ROOT / "src"
    files = {path.relative_to(code).as_posix() for path in code.rglob("*") if path.is_file()}
    files |= {f"initbench/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "conf").rglob("*.yaml")}
    return {f for f in files if "__pycache__" not in f}


def test_the_wheel_holds_code_templates_and_configuration(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        scripts = archive.read(f"initbench-{initbench.__version__}.dist-info/entry_points.txt").decode()
    held = {name for name in names if ".dist-info/" not in name}
    assert held == sources()
    assert "initbench/conf/config.yaml" in held
    assert any("/templates/" in name for name in held)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert "initbench = initbench.__main__:as_process" in scripts


def test_a_wheel_built_from_the_sdist_is_the_same(wheel, tmp_path):
    archive = build(tmp_path, "sdist")
    with tarfile.open(archive) as tar:
        safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # not before Python 3.11.4
        tar.extractall(tmp_path / "source", **safely)
    (source,) = (tmp_path / "source").iterdir()
    assert (source / "constraints.txt").is_file()
    assert (source / "tests" / Path(__file__).name).is_file()
    again = build(tmp_path / "again", "wheel", source)
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        assert one.namelist() == other.namelist()


def test_the_repository_is_read_beside_its_sources():
    from initbench.disk import conf_folder

    if Path(initbench.__file__).parent == ROOT / "src" / "initbench":
        assert conf_folder() == ROOT / "conf"


@pytest.mark.slow
def test_the_wheel_alone_runs_in_an_empty_folder(wheel, tmp_path):
    site, empty = tmp_path / "installed" / "site", tmp_path / "empty"
    empty.mkdir()
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(install, check=True, timeout=300)
    env = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "PYTHONPATH")}
    env["PYTHONPATH"] = str(site)

    def python(*arguments: str, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=empty, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return done.stderr if status else done.stdout

    where = "from initbench.disk import conf_folder; print(conf_folder())"
    assert python("-c", where).strip() == str(site / "initbench" / "conf")
    refused = python("-m", "initbench.reproduce", "--list", status=2)
    assert "run it in a clone of the repository" in refused
    assert refused.count("\n") == 1
    python("-m", "initbench", "experiment=quick")
    made = {path.name for path in (empty / "outputs" / "quick").iterdir()}
    assert {"report.html", "runs.parquet", "history.parquet", "study.json"} <= made
    page = (empty / "outputs" / "quick" / "report.html").read_text(encoding="utf-8")
    assert str(ROOT) not in page


def test_constraints_are_exact_and_inside_the_ranges():
    pinned = pins()
    for one in pinned.values():
        assert re.fullmatch(r"==[\w.]+", str(one.specifier)), f"{one}: one exact version without a local part"
    extras = PROJECT["optional-dependencies"]
    asked = [
        *PROJECT["dependencies"],
        *(text for name in ("cluster", "joblib", "test", "dev", "docs") for text in extras[name]),
    ]
    for text in asked:
        wanted = Requirement(text)
        if wanted.name == "initbench":
            continue
        version = str(pinned[canonicalize_name(wanted.name)].specifier).removeprefix("==")
        assert wanted.specifier.contains(version), f"{text}: constraints.txt has {version}"


def test_constraints_name_everything_that_is_installed():
    """Walks what the installed packages require, from initbench[dev,docs] on; what is not installed here is left out."""
    pinned, seen = pins(), set()
    todo = [("initbench", frozenset({"cluster", "joblib", "test", "dev", "docs"}))]
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            requires = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for one in map(Requirement, requires):
            asked = [{"extra": extra} for extra in extras] or [{"extra": ""}]
            if one.marker is None or any(one.marker.evaluate(extra) for extra in asked):
                todo.append((canonicalize_name(one.name), frozenset(one.extras)))
    names = {name for name, _ in seen if name != "initbench" and not OF_TORCH.fullmatch(name)}
    assert "torch" in names
    assert names <= set(pinned), f"not in constraints.txt: {sorted(names - set(pinned))}"


def test_every_pin_can_be_installed_on_the_oldest_python():
    """Of what is installed here in the pinned version; Debian 12 has Python 3.11.2."""
    oldest = PROJECT["requires-python"].removeprefix(">=") + ".0"
    for name, one in pins().items():
        with suppress(metadata.PackageNotFoundError):
            wanted = metadata.metadata(name).get("Requires-Python")
            if wanted and one.specifier.contains(metadata.version(name)):
                assert SpecifierSet(wanted).contains(oldest), f"{one} needs Python {wanted}"


def test_versions_and_licence_agree():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {initbench.__version__}\n" in citation
    assert f"\n## {initbench.__version__} " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert re.search(r"\nlicense: Apache-2.0\n", citation)


def yaml_of(path: Path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_every_file_names_one_address():
    """The repository's and the site's address stand in pyproject.toml and the README alone; a fork changes both."""
    urls = PROJECT["urls"]
    site, repository = urls["Documentation"], urls["Repository"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    badges = re.findall(r"^\[!\[.*\)$", readme, re.MULTILINE)
    assert len(badges) == 5
    assert f"{repository}/actions/workflows/ci.yml" in readme
    assert f"]({site})" in readme
    assert {"Issues", "Changelog"} <= set(urls)
    assert all(url.startswith((site, repository)) for url in urls.values())
    written = subprocess.run(
        ["git", "grep", "-lE", f"{re.escape(site.rstrip('/'))}|{re.escape(repository)}"],
        cwd=ROOT, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    assert set(written) <= {"pyproject.toml", "README.md"}, "give the address from pyproject.toml"


@pytest.mark.parametrize("path", sorted((ROOT / ".github/workflows").glob("*.yml")), ids=lambda path: path.stem)
def test_workflows_run_what_is_there_with_few_rights(path):
    workflow = yaml_of(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow.get(True) or workflow.get("on")  # YAML 1.1 reads `on` as true
    for job in workflow["jobs"].values():
        assert "timeout-minutes" in job or set(job.get("permissions", {})) & {"id-token", "pages"}
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            for extras in re.findall(r"-e '\.\[(.*?)\]'", step.get("run", "")):
                assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])


def test_ci_tries_what_the_classifiers_promise():
    matrix = yaml_of(ROOT / ".github/workflows/ci.yml")["jobs"]["test"]["strategy"]["matrix"]
    promised = {text.split(" :: ")[-1] for text in PROJECT["classifiers"] if "Python :: 3." in text}
    oldest, *_, newest = sorted(promised, key=lambda version: int(version.split(".")[1]))
    assert {oldest, newest} <= set(matrix["python"]) <= promised
    assert {"ubuntu-latest", "macos-latest"} == set(matrix["os"])
    weekly = yaml_of(ROOT / ".github/workflows/upstream.yml")
    packages = weekly["jobs"]["main-branches"]["strategy"]["matrix"]["package"]
    assert [text.split(" @ ")[0] for text in packages] == ["hydra-core", "mlflow"]
    assert "schedule" in (weekly.get(True) or weekly["on"])


def test_only_the_job_that_publishes_may_sign_and_it_has_no_token():
    jobs = yaml_of(ROOT / ".github/workflows/release.yml")["jobs"]
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert "permissions" not in jobs["build"]
    assert "secrets." not in (ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8")
    (check,) = [step for step in jobs["build"]["steps"] if "TAG" in step.get("env", {})]
    env = {**os.environ, "TAG": f"v{initbench.__version__}"}
    assert subprocess.run(["bash", "-c", check["run"]], cwd=ROOT, env=env).returncode == 0
    assert subprocess.run(["bash", "-c", check["run"]], cwd=ROOT, env={**env, "TAG": "v9.9.9"}).returncode != 0


def test_the_form_for_an_initializer_asks_for_formula_source_and_contract():
    for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"):
        form = yaml_of(path)
        assert {"name", "description", "body"} <= set(form)
        assert all({"type", "id", "attributes"} <= set(part) and part["attributes"]["label"] for part in form["body"])
    asked = {part["id"]: part for part in yaml_of(ROOT / ".github/ISSUE_TEMPLATE/initializer.yml")["body"]}
    assert all(asked[name]["validations"]["required"] for name in ("formula", "source", "contract"))


def test_the_image_and_the_class_environment_install_what_is_pinned():
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "-c /source/constraints.txt" in image
    assert re.search(r"^USER (?!0|root)", image, re.MULTILINE)
    assert "https://download.pytorch.org/whl/cpu" in image
    pip = yaml_of(ROOT / "environment.yml")["dependencies"][-1]["pip"]
    assert {"-c constraints.txt", "-e ."} <= set(pip)
    page = (ROOT / "docs/container.md").read_text(encoding="utf-8")
    commands = re.findall(r"docker (?:build|run) .*", image)
    assert len(commands) == 2
    assert all(command in page for command in commands)


def nobody(monkeypatch, tmp_path, user=None):
    """A user whom the system does not know, with nothing but TMPDIR; as which number the files there count."""

    def unknown(_):
        raise KeyError

    monkeypatch.setenv("HOME", "")  # so that what is set there later goes too
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if user is not None:
        monkeypatch.setattr(os, "getuid", lambda: user)


def test_a_user_without_a_home_gets_a_private_one(monkeypatch, tmp_path):
    """Without one MLflow cannot be imported."""
    nobody(monkeypatch, tmp_path)
    with pytest.raises(RuntimeError):
        Path.home()
    home.given()
    assert Path.home() == tmp_path / f"initbench-{os.getuid()}"
    assert Path.home().stat().st_mode & 0o777 == 0o700


def test_no_home_is_taken_from_another_user(monkeypatch, tmp_path):
    """What lies in it is run: compiled kernels."""
    nobody(monkeypatch, tmp_path, user=os.getuid() + 1)
    assert home.private() is None
    home.given()
    assert Path.home() == Path("/")


def test_where_home_cannot_be_written_matplotlib_writes_elsewhere(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MPLCONFIGDIR", "")
    monkeypatch.delenv("MPLCONFIGDIR")
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)
        home.given()
    assert Path(os.environ["MPLCONFIGDIR"]).parent == tmp_path / f"initbench-{os.getuid()}"
    monkeypatch.delenv("MPLCONFIGDIR")
    home.given()
    assert "MPLCONFIGDIR" not in os.environ


def test_where_nothing_can_be_written_one_line_says_what_to_set(monkeypatch, tmp_path, capsys):
    def nowhere() -> int:
        monkeypatch.setattr(tempfile, "tempdir", None)
        monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "none")])
        tempfile.gettempdir()
        return 0

    assert answered("initbench", nowhere) == 2
    assert re.fullmatch(
        r"initbench: No usable .*; set TMPDIR to a folder that can be written\n", capsys.readouterr().err
    )


@pytest.mark.parametrize("script", ["check", ".ci/run", ".ci/slurm"])
def test_scripts_are_executable_bash(script):
    path = ROOT / script
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", str(path)], check=True)


def test_hooks_and_check_run_the_same_tools():
    config = yaml_of(ROOT / ".pre-commit-config.yaml")
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    assert {repo["repo"] for repo in config["repos"]} == {"local"}
    assert {hook["language"] for hook in hooks} == {"system"}
    entries = [hook["entry"].removeprefix("python -m ").removesuffix(" --force-exclude") for hook in hooks]
    script = (ROOT / "check").read_text(encoding="utf-8")
    assert [line.removeprefix("run ") for line in script.splitlines() if line.startswith("run ")] == entries
