"""A matplotlib figure as inline SVG: same bytes for same data, colours as CSS variables, no style attributes.

What matplotlib writes is made for a file of its own. Inside a page its ids would clash with those of the next figure,
its `style` attributes would be refused by the page's content security policy, its colours would ignore dark mode.
"""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from initbench.report.figures.common import ARM
from initbench.report.palette import INK, LINE, MUTED, TONES

RC = {
    "svg.fonttype": "none",  # text stays text: searchable, small, in the reader's font
    "text.parse_math": False,  # a setup may be named a $\frac{$
    "font.family": "DejaVu Sans",  # comes with matplotlib: same layout on every machine
    "font.size": 9.0,
    "axes.labelsize": 9.0,
    "axes.titlesize": 9.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": LINE,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # where they stand anyhow: no axis has its ticks above, so nobody needs to measure them
    "axes.unicode_minus": True,
    "hatch.linewidth": 0.6,
    "path.simplify": True,
}
# matplotlib's own defaults, so that nobody's matplotlibrc changes the page; a backend is not ours to set
_DEFAULTS = {key: value for key, value in mpl.rcParamsDefault.items() if not key.startswith(("backend", "date."))}
_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_FONT = re.compile(r"font:\s*(?P<before>[^;]*?)(?P<size>[\d.]+px)[^;]*")


@contextmanager
def drawing() -> Iterator[None]:
    """Everything that draws or saves a figure happens in here: rc settings of the page, and nobody else's."""
    with mpl.rc_context({**_DEFAULTS, **RC}), warnings.catch_warnings():  # type: ignore[dict-item]
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the text stays text: a browser has the font
        yield


class Styles:
    """Collects style attributes as classes: `style="fill: #010a01"` -> class "s0" and `.s0{fill:var(--ink)}`."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def name(self, style: str) -> str:
        """The class of a style."""
        clean = ";".join(sorted(part.strip().replace(": ", ":") for part in style.split(";") if part.strip()))
        return self._names.setdefault(clean, f"s{len(self._names)}")

    def css(self) -> str:
        """All rules, colours as variables."""
        text = "".join(f".fig .{name}{{{style}}}" for style, name in self._names.items())
        for tone, (placeholder, _, _) in TONES.items():
            text = text.replace(placeholder, f"var(--{tone})")
        return text


def inline_svg(
    figure: Figure,
    key: str,
    title: str,
    description: str,
    styles: Styles,
    arms: Mapping[str, tuple[str, str]] | None = None,
) -> Markup:
    """SVG of a figure for the page. `key` is unique on it: prefix of every id, and the hash salt.

    `title` says what is drawn, `description` what is to be seen; both are read out by screen readers. `arms`: where the
    link of an arm leads ("#arm-3") and what hovering over it says; an arm that is not there gets no link.
    """
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": key}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    root = ET.fromstring(out.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if _tag(child) in ("metadata", "style") or (_tag(child) == "defs" and _only_style(child)):
                parent.remove(child)
    for element in root.iter():
        if _tag(element) == "a":
            _link(element, arms or {})
    keep = root.attrib["viewBox"]
    root.attrib.clear()
    for element in root.iter():
        _clean(element, key, styles)
    role = "group" if any(element.tag == "a" for element in root.iter()) else "img"  # an image holds no links
    root.attrib.update({"viewBox": keep, "role": role, "class": "plot"})
    root.set("aria-labelledby", f"{key}-t {key}-d")
    _flatten(root)
    body = "".join(ET.tostring(child, encoding="unicode") for child in root)
    head = " ".join(f'{name}="{escape(value)}"' for name, value in root.attrib.items())
    body = re.sub(r"\s*\n\s*", "", body)
    about = f'<title id="{key}-t">{escape(title)}</title><desc id="{key}-d">{escape(description)}</desc>'
    return Markup(f"<svg {head}>{about}{body}</svg>")


def _link(element: ET.Element, arms: Mapping[str, tuple[str, str]]) -> None:
    """Where the link of an arm leads and what it says; by keyboard, its name alone is met."""
    href = next((value for name, value in element.attrib.items() if name.rsplit("}", 1)[-1] == "href"), "")
    element.attrib.clear()
    if (arm := href.removeprefix(ARM)) not in arms:
        element.tag = "g"
        return
    target, tip = arms[arm]
    element.set("href", target)
    if not any(_tag(child) == "text" for child in element.iter()):
        element.attrib |= {"tabindex": "-1", "aria-hidden": "true"}
    if tip:
        ET.SubElement(element, "title").text = tip


def _tag(element: ET.Element) -> str:
    return element.tag.rsplit("}", 1)[-1]


def _only_style(element: ET.Element) -> bool:
    return all(_tag(child) == "style" for child in element)


def _clean(element: ET.Element, key: str, styles: Styles) -> None:
    element.tag = _tag(element)
    for name in list(element.attrib):
        value = element.attrib.pop(name)
        name = name.rsplit("}", 1)[-1]
        if name == "style":
            style = _FONT.sub(_font, value)
            style = re.sub(r"font-family:[^;]*(;|$)", "", style)
            style = re.sub(r"url\(#", f"url(#{key}-", style)
            if element.tag == "path" and style.strip("; ") == "fill: none":
                element.set("data-blank", "1")
            elif style.strip():
                element.set("class", styles.name(style))
            continue
        if name == "target" or (name == "id" and not re.fullmatch(r"[mphi][0-9a-f]{8,}|arm-\d+", value)):
            continue  # matplotlib's running numbers (patch_3): nobody refers to them
        if name == "id":
            value = f"{key}-{value}"
        if name == "href" and value.startswith("#") and element.tag != "a":
            value = f"#{key}-{value[1:]}"
        if name in ("clip-path", "fill", "mask"):
            value = value.replace("url(#", f"url(#{key}-")
        if name in ("d", "x", "y", "transform", "width", "height", "points"):
            value = _NUMBER.sub(lambda m: f"{float(m.group()):.2f}".rstrip("0").rstrip("."), value)
            value = re.sub(r"\s+", " ", value).strip()
            if name == "transform" and value.startswith("rotate(-0 "):
                continue
        element.set(name, value)
    if element.text and not element.text.strip():
        element.text = None
    if element.tail and not element.tail.strip():
        element.tail = None


def _flatten(element: ET.Element) -> None:
    """Drop groups without attributes (their children stay) and paths that paint nothing."""
    children = []
    for child in list(element):
        _flatten(child)
        if child.tag == "g" and not child.attrib:
            children += list(child)
        elif not (child.tag == "path" and child.get("data-blank")):
            children.append(child)
    for child in list(element):
        element.remove(child)
    element.extend(children)


def _font(match: re.Match[str]) -> str:
    weight = "font-weight:bold;" if re.search(r"bold|700", match["before"]) else ""
    return f"{weight}font-size:{match['size']}"
