"""Sentences as data: parts that are plain, bold or code, then HTML, Markdown or plain text from the same parts."""

from __future__ import annotations

import re
from typing import NamedTuple

from markupsafe import Markup, escape

from initbench.grammar import listed as listed  # said in the same words as in the terminal


class Bold(str):
    """A name to stand out: the setup an answer speaks of."""


class Code(str):
    """Something to type."""


Sentence = tuple[str, ...]


class Notice(NamedTuple):
    """One thing to know before trusting a report."""

    title: str
    text: Sentence


def say(pattern: str, *parts: object) -> Sentence:
    """The pattern with its {} filled in order, by sentences too; Bold and Code parts stay what they are.

    >>> markdown(say("{} beats {}, type {}", Bold("a*b"), "c", Code("lr=1")))
    '**a\\\\*b** beats c, type `lr=1`'
    """
    pieces = pattern.split("{}")
    if len(pieces) != len(parts) + 1:
        raise ValueError(f"{pattern!r}: {len(pieces) - 1} places, {len(parts)} parts")
    out: list[str] = [pieces[0]]
    for part, piece in zip(parts, pieces[1:]):
        out += [*(part if isinstance(part, tuple) else [part if isinstance(part, str) else str(part)]), piece]
    return tuple(part for part in out if part)


def join(sentences: list[Sentence], between: str = " ") -> Sentence:
    """One sentence after another."""
    out: list[str] = []
    for sentence in sentences:
        if not sentence:
            continue
        out += [between, *sentence] if out else list(sentence)
    return tuple(out)


def html(sentence: Sentence) -> Markup:
    """Escaped, with <strong> and <code>.

    >>> str(html(say("{}", Bold("<script>"))))
    '<strong>&lt;script&gt;</strong>'
    """
    tags = {Bold: ("<strong>", "</strong>"), Code: ("<code>", "</code>")}
    out = Markup("")
    for part in sentence:
        before, after = tags.get(type(part), ("", ""))
        out += Markup(before) + escape(str(part)) + Markup(after)
    return out


def markdown(sentence: Sentence) -> str:
    """For a README or a pull request; what Markdown would read as markup is escaped."""
    out = []
    for part in sentence:
        if isinstance(part, Code):
            out.append(code_span(part))
        elif isinstance(part, Bold):
            out.append(f"**{escape_markdown(part)}**")
        else:
            out.append(escape_markdown(part))
    return "".join(out)


def plain(sentence: Sentence) -> str:
    """Without any markup: alt texts, the terminal."""
    return "".join(str(part) for part in sentence)


def escape_markdown(text: str) -> str:
    r"""
    >>> escape_markdown("a|b_c <i>")
    'a\\|b\\_c &lt;i&gt;'
    """
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
    return re.sub(r"([\\`*_\[\]|$~])", r"\\\1", text)


def code_span(text: str) -> str:
    """A code span whose fence is longer than any run of backticks inside."""
    text = text.replace("\n", " ")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"
