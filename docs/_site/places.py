"""Files of the repository outside docs/ as pages of the site, and links between files as links between pages.

A page is written once, with the links that GitHub follows; here they are led to where the page stands on the site, and to
the repository where it has no page.
"""

from __future__ import annotations

import posixpath
import re
import tomllib
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
PAGES = {  # file of the repository -> page of the site
    "README.md": "overview.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "experiments/README.md": "studies/index.md",
    "experiments/SURPRISES.md": "studies/surprises.md",
    "experiments/leaderboard/index.html": "studies/leaderboard/figures.html",  # beside the page made of its README
}
SHOWN_RESULTS = (".csv", ".svg", ".png", ".yaml")
BADGES = re.compile(r"^\[!\[.*\n", re.MULTILINE)  # images from elsewhere; a page loads nothing from there
INNER_PRODUCT = re.compile(r"<(?=\w+, )")  # GitHub shows <W, g>; here it would be a tag
SEARCHED_FIRST = ("catalogue.md", "maps.md", "verdicts.md", "api.md", "measures.md")
LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")


def places() -> dict[str, str]:
    """Every file of the repository that the site has -> its place there; those of docs/ stand where they are."""
    found = dict(PAGES)
    for path in sorted((ROOT / "experiments").glob("*/README.md")):
        found[f"experiments/{path.parent.name}/README.md"] = f"studies/{path.parent.name}.md"
    for path in sorted((ROOT / "experiments").rglob("*")):
        if path.suffix in SHOWN_RESULTS and path.is_file():
            inside = path.relative_to(ROOT / "experiments").as_posix()
            found[f"experiments/{inside}"] = f"studies/{inside}"
    return found


def relinked(text: str, here: str, known: dict[str, str], elsewhere: str) -> str:
    """The text of the file `here` with its links as those of its page. `elsewhere`: where the repository is shown."""
    page = place(here, known)

    def link(match: re.Match[str]) -> str:
        before, target, after = match.groups()
        if re.match(r"[a-z]+:", target) or target.startswith("/"):
            return match[0]
        meant = posixpath.normpath(posixpath.join(posixpath.dirname(here), target))
        led = place(meant, known)
        if led is None and (ROOT / meant).exists():
            kind = "tree" if (ROOT / meant).is_dir() else "blob"
            return f"{before}{elsewhere}/{kind}/main/{meant}{after}"
        return match[0] if led is None else f"{before}{posixpath.relpath(led, posixpath.dirname(page) or '.')}{after}"

    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(
        part if part.startswith("```") else LINK.sub(link, INNER_PRODUCT.sub("&lt;", part)) for part in parts
    )


def place(file: str, known: dict[str, str]) -> str | None:
    """Where a file of the repository stands on the site; None if it has no place there."""
    if file in known:
        return known[file]
    inside = file.removeprefix("docs/")
    hidden = inside.endswith((".py", ".ipynb", "/")) or not (ROOT / file).is_file()
    return None if inside == file or hidden else inside


def on_config(config: Any) -> Any:
    """The addresses stand in pyproject.toml. Not as repo_url: for that the theme asks GitHub for stars, from every page."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    config.site_url, config.extra["repository"] = urls["Documentation"], urls["Repository"]
    config.extra["social"] = [
        {"icon": "fontawesome/brands/github", "link": urls["Repository"], "name": "The repository"}
    ]
    return config


def on_files(files: Files, config: Any) -> Files:
    for file, uri in places().items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / file)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    known = places()
    of_page = {uri: file for file, uri in known.items()}
    uri = page.file.src_uri
    here = of_page.get(uri, f"docs/{uri}")
    if uri in SEARCHED_FIRST:
        page.meta["search"] = {"boost": 4}
    if uri.startswith("studies/"):  # wide tables
        page.meta["hide"] = ["toc"]
    return relinked(BADGES.sub("", markdown), here, known, config["extra"]["repository"])
