"""Setups in plain words, for whoever meets the names of options for the first time."""

from __future__ import annotations

import re
from functools import cache

from initbench.disk import conf_folder
from initbench.report.words import Bold, Sentence, say

NONE = "no sharing"


@cache
def about(group: str, name: str) -> str:
    """The beginning of the first line of an option's file, which says what it is; empty for your own code.

    >>> about("init", "eye"), about("init", "kaiming_normal"), about("sharing", "pairs"), about("init", "my_init.my_init")
    ('the identity', "He's normal", 'neighbouring layers share', '')
    """
    file = conf_folder() / group / f"{name}.yaml"
    if not re.fullmatch(r"[A-Za-z0-9_]+", name) or not file.is_file():
        return ""
    with file.open(encoding="utf-8") as lines:
        line = lines.readline().strip()
    if not line.startswith("# "):
        return ""
    words = re.split(r"[,:;] | \(", line[2:])[0]
    return "" if f"{group}." in words or words.count("(") != words.count(")") else words


def in_words(setup: str) -> str:
    """What a label says, its own words left out where nothing is known of them.

    >>> in_words("eye · none"), in_words("my_init.my_init · all"), in_words("mine")
    ('the identity, no sharing', 'one weight for all hidden-to-hidden layers', '')
    """
    init, *rest = setup.split(" · ")
    parts = [about("init", init.partition("(")[0])]
    if rest:
        scheme = rest[0].partition("(")[0]
        parts.append(NONE if scheme == "none" else about("sharing", scheme))
    return ", ".join(part for part in parts if part)


def introduced(setup: str) -> Sentence:
    """A setup at its first mention: its label, then what that is.

    >>> "".join(introduced("eye · none"))
    'eye · none (the identity, no sharing)'
    """
    words = in_words(setup)
    return say("{} ({})", Bold(setup), words) if words else (Bold(setup),)
