"""What inputs are drawn from: text, overrides, YAML, JSON, splices of bytes, headers of arrays.

Every input is a Python literal, so that a finding can be kept and run again.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from initbench.disk import conf_folder

ODD_TEXT = (
    *(
        "",
        " ",
        ".",
        "..",
        "/",
        "~",
        "-",
        "\n",
        "\x00",
        "\x1b[31m",
        "\ud800",
        "\u202e",
        "李明",
        "é",
        "𝒳",
        "🙂",
        "a" * 300,
    ),
    *("null", "None", "true", "no", "nan", "inf", "-inf", "1e400", "-0", "0x10", "1_000", "1.10", "007", "1e-320"),
    *(
        "<script>alert(1)</script>",
        "&amp;",
        "'",
        '"',
        "`",
        "\\",
        "%s",
        "%(x)s",
        "{x}",
        "{{x}}",
        "${x}",
        "$HOME",
        "[/x]",
    ),
    *(
        "[bold]",
        "=1+1",
        "a,b",
        "a=b",
        "a:b",
        "a;b",
        "a|b",
        "#",
        "*",
        "_x_",
        "$x^2$",
        "\\input{/etc/passwd}",
        "CON",
        "store",
    ),
)
NUMBERS = (
    *(0, 1, -1, 2, 3, 7, 10, 100, 2**31, 2**63, 2**64, 10**30, -(2**63)),
    *(0.0, 0.5, 1.0, 1.5, 1e-9, 1e-300, 1e300, -0.5),
)
SOME = (
    *(
        "choice(1,2)",
        "range(1,3)",
        "range(0,1,0)",
        "interval(0,1)",
        "glob(*)",
        "glob(zzz*)",
        "shuffle(1,2)",
        "sort(2,1)",
    ),
    *(
        "tag(a,1)",
        "int(x)",
        "float(3)",
        "str(3)",
        "bool(2)",
        "json_str({})",
        "extend_list(1)",
        "${optim.lr}",
        "${init}",
    ),
    *(
        "${oc.env:HOME}",
        "${now:%Y}",
        "${nothing}",
        "${",
        "???",
        "[]",
        "{}",
        "[1,2]",
        "[[0,1],[2]]",
        "[[0],[0,1]]",
        "[1,1]",
    ),
    *(
        "{a:1}",
        "{name:eye}",
        "{_target_:os.getcwd}",
        "[",
        "(",
        "'",
        "'a",
        "a b",
        "a,b",
        ",",
        "1,2",
        "eye,eye",
        "null,none",
    ),
    *("/dev/zero", "/dev/null", ".", "no.npz", "builtins.print", "os.path", "no.such.f", "math.inf", "..x", "a..b"),
)
NOT_HERE = ("outputs", "openml", "hydra.sweep", "hydra.run", "/dev/stdin")  # write elsewhere by right, or ask a server


@lru_cache(maxsize=1)
def keys() -> tuple[tuple[str, ...], tuple[str, ...], tuple[tuple[str, str], ...]]:
    """(groups, dotted keys, (key, value) as the configuration's own files have them)."""
    found: dict[tuple[str, str], None] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else str(key), inner)
        elif prefix and not prefix.startswith(("hydra", "defaults")) and "override " not in prefix:
            found[prefix, "null" if value is None else str(value).replace(" ", "")] = None

    folder = conf_folder()
    groups = sorted(path.name for path in folder.iterdir() if path.is_dir())
    for path in sorted(folder.rglob("*.yaml")):
        group = path.parent.name if path.parent != folder else ""
        if group:
            found[group, path.stem] = None
        if group != "experiment":
            walk(group, yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    return tuple(groups), tuple(sorted({key for key, _ in found})), tuple(found)


def text() -> st.SearchStrategy[str]:
    """Odd text, alone, joined, or any characters at all."""
    odd = st.sampled_from(ODD_TEXT)
    anything = st.text(st.characters(), max_size=12)  # lone surrogates as well
    return st.one_of(odd, st.builds("".join, st.lists(odd, min_size=2, max_size=3)), anything)


def numbers() -> st.SearchStrategy[Any]:
    return st.one_of(st.sampled_from(NUMBERS), st.integers(-5, 100), st.floats(allow_nan=False, allow_infinity=False))


def value() -> st.SearchStrategy[str]:
    """What may stand right of the =."""
    own = st.sampled_from([value for _, value in keys()[2]])
    simple = st.one_of(own, st.sampled_from(SOME), numbers().map(repr), text())
    inside = st.lists(simple, max_size=3).map(",".join)
    return st.one_of(simple, simple, inside, inside.map("[{}]".format), inside.map("choice({})".format))


def override() -> st.SearchStrategy[str]:
    """One override: as the files have it, with another value, with another key, of another kind, or any text."""
    groups, names, pairs = keys()
    key = st.one_of(st.sampled_from(names), st.sampled_from(names), st.sampled_from(groups), text())
    typo = st.builds(lambda name, at, c: name[: at % len(name)] + c + name[at % len(name) + 1 :], key.filter(bool),
                     st.integers(0, 30), st.text(st.characters(), max_size=1))  # fmt: skip
    joined = st.builds("{}={}".format, st.one_of(key, key, key, typo), value())
    made = st.one_of(
        st.sampled_from(pairs).map("=".join),
        joined,
        joined,
        joined,
        st.builds("{}{}".format, st.sampled_from(["+", "++", "~", "-"]), joined),
        key.map("~{}".format),
        text(),
        st.binary(max_size=10).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    )
    return made.filter(lambda o: not any(name in o for name in NOT_HERE))


def splices(most: int = 4) -> st.SearchStrategy[list[tuple[float, int, bytes]]]:
    """Cuts of a file: where (a share of its length), how many bytes go, what comes."""
    few = st.integers(0, 6)
    return st.lists(
        st.tuples(st.floats(0, 1), st.one_of(few, few, few, st.integers(0, 10**6)), st.binary(max_size=6)),
        max_size=most,
    )


def spliced(content: bytes, cuts: list[tuple[float, int, bytes]]) -> bytes:
    """The file with its cuts.

    >>> spliced(b"abcd", [(0.5, 1, b"XY")])
    b'abXYd'
    """
    for share, gone, come in cuts:
        at = int(share * len(content))
        content = content[:at] + come + content[at + gone :]
    return content


def literal() -> st.SearchStrategy[Any]:
    """What JSON and YAML can hold, and infinity and what is no number as text that `alive` turns into it."""
    leaf = st.one_of(st.none(), st.booleans(), numbers(), text(), st.sampled_from(["!nan", "!inf", "!-inf", "!deep"]))
    return st.recursive(
        leaf,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(text(), inner, max_size=3)),
        max_leaves=5,
    )


def alive(value: Any) -> Any:
    """A literal with what a literal cannot hold."""
    if value in ("!nan", "!inf", "!-inf"):
        return float(value[1:])
    if value == "!deep":
        return nested(300)
    if isinstance(value, list):
        return [alive(one) for one in value]
    return {key: alive(one) for key, one in value.items()} if isinstance(value, dict) else value


def nested(depth: int) -> Any:
    """A list in a list in a list."""
    made: list[Any] = []
    for _ in range(depth):
        made = [made]
    return made


def places(content: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything in JSON.

    >>> places({"a": [1]})
    [('a',), ('a', 0)]
    """
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [path for key, value in inner for path in ((*prefix, key), *places(value, (*prefix, key)))]


def edits(most: int = 3) -> st.SearchStrategy[list[tuple[str, int, Any]]]:
    """Changes of JSON: set, drop or add, at a place by its number, a value."""
    kind = st.sampled_from(["set", "set", "drop", "add"])
    return st.lists(st.tuples(kind, st.integers(0, 10**4), literal()), min_size=1, max_size=most)


def edited(content: Any, changes: list[tuple[str, int, Any]]) -> Any:
    """JSON with changes; a place beyond the last starts again at the first.

    >>> edited({"a": [1, 2]}, [("set", 1, "x"), ("drop", 2, None)])
    {'a': ['x']}
    """
    for kind, number, value in changes:
        known = places(content)
        if not known:
            return content
        *path, last = known[number % len(known)]
        holder = content
        for key in path:
            holder = holder[key]
        if kind == "drop":
            del holder[last]
        elif kind == "set":
            holder[last] = alive(value)
        elif isinstance(holder, list):
            holder.append(alive(value))
        else:
            holder[f"{last}x"] = alive(value)
    return content


def written(folder: Path, name: str, content: bytes) -> Path:
    """A file below a folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
