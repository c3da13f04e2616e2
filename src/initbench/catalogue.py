"""python -m initbench.catalogue: every initializer with its formula, source, contract and purpose.

`--markdown` prints docs/catalogue.md: the initializers, their options, bias rules and sharing schemes. `--check` draws
what a contract speaks of and compares: an entry, an option, or your own function (module.function, or of an
installed package), for which the common rules count: it fills the matrix with finite numbers, the same for the same
generator, others for another. One that always fills the same numbers leaves `generator` out of its signature: then equal
seeds are no fault; one that takes a generator and ignores it cannot be told from one that seeds itself.

Exit status: 0 done; 1 a contract is broken (--check; also your own function that raises or leaves NaN); 2 wrong
input: nothing of that name can be imported, or an argument has no value.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from initbench.cli import as_json
from initbench.cli.ending import answered
from initbench.cli.flags import Parser
from initbench.cli.help import meaning
from initbench.disk import conf_folder
from initbench.errors import InputError, NotApplicable, refusal, shown
from initbench.own.code import line

COLUMNS = ("name", "formula", "source", "contract", "meant for", "options")
SHOWN = 6  # violations printed of one contract
BROKEN, NOTICED = 222, 222  # constants of laws made 5% larger, and how many of them the tests noticed
NEEDS = {"nothing": "", "module": "sees the net; ", "data": "sees a batch; ", "gradient": "sees gradients; "}


def rows() -> list[dict[str, str]]:
    """One row per entry, in order of names, with the columns of COLUMNS.

    >>> next(row for row in rows() if row["name"] == "eye")["options"]
    'eye, identity'
    """
    from initbench.initializers import REGISTRY
    from initbench.initializers.option_files import known, load_option

    by_target: dict[str, list[str]] = {}
    for option in known():
        by_target.setdefault(load_option(option)["_target_"], []).append(option)
    return [
        {
            "name": entry.name,
            "formula": entry.formula,
            "source": entry.source,
            "contract": NEEDS[entry.needs] + entry.contract.promise + (f" [{entry.note}]" if entry.note else ""),
            "meant for": entry.meant_for,
            "options": ", ".join(by_target.get(entry.target, [])),
        }
        for entry in sorted(REGISTRY.values(), key=lambda entry: entry.name)
    ]


def markdown(table: Sequence[Mapping[str, str]], columns: Sequence[str] = COLUMNS) -> str:
    """The rows as a Markdown table; a bar inside a cell is escaped.

    >>> print(markdown([dict.fromkeys(COLUMNS, "a|b")]).splitlines()[2])
    | a\\|b | a\\|b | a\\|b | a\\|b | a\\|b | a\\|b |
    """
    lines = [columns, ["---"] * len(columns), *([row[column] for column in columns] for row in table)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def option_rows(group: str) -> list[dict[str, str]]:
    """The options of a group with the meaning that their first line states.

    >>> option_rows("init")[0]
    {'option': 'asi', 'meaning': 'two equal half-width nets subtracted: output exactly 0 at the start'}
    """
    paths = sorted((conf_folder() / group).glob("*.yaml"))
    return [{"option": path.stem, "meaning": meaning(path)} for path in paths]


def bias_rows() -> list[dict[str, str]]:
    """The bias rules with the first line of their description.

    >>> bias_rows()[0]
    {'rule': 'zeros', 'bias': 'b = 0, the default of JAX and Keras.'}
    """
    from initbench.initializers.bias import RULES

    return [{"rule": name, "bias": " ".join(first_paragraph(rule).split())} for name, rule in RULES.items()]


def first_paragraph(function: Callable[..., Any]) -> str:
    """What a docstring says before its first empty line."""
    return (function.__doc__ or "").strip().split("\n\n")[0]


def page() -> str:
    """docs/catalogue.md, whole."""
    table = rows()
    parts = [
        "# The catalogue",
        "Made by `python -m initbench.catalogue --markdown`; a test compares this page with its output.",
        "n = fan_in, m = fan_out; a weight W is one (m, n) matrix of one run, row i the incoming weights of unit i; phi is "
        "the activation, z ~ N(0, 1), L the number of hidden layers. The bias is 0 unless a row or the option's "
        "`bias` says otherwise. N(0, s^2) names a variance.",
        f"## {len(table)} initializers",
        "Each is a function `initbench.initializers.<name>_`. Its contract is tested at many shapes, in float32 and "
        "float64: `python -m initbench.catalogue --check <name>`. Do contracts notice a wrong law? Each of the "
        f"{BROKEN} constants of the laws was made 5% larger, one at a time: the contract, a second implementation "
        f"or the option file noticed {NOTICED}. `pytest -m long -s tests/test_initializers_mutations.py` repeats this.",
        "Every option takes `init.relative=a`: first layer and hidden biases times a, last weight over a, after whatever the "
        "initializer does. A ReLU net's function is unchanged, the balance of its first and last layer is not, and with "
        "it which of them learns first (Kunin et al. 2024, 2406.06158; the rule for ReLU is derived).",
        markdown(table),
    ]
    for title, group in (("options of `init`", "init"), ("options of `sharing`", "sharing")):
        options = option_rows(group)
        parts += [f"## {len(options)} {title}", markdown(options, ("option", "meaning"))]
    biases = bias_rows()
    parts += [
        f"## {len(biases)} bias rules",
        "`init.bias=<number>`, `init.bias=<rule>` or `'init.bias={rule: <rule>, <arguments>}'`. An initializer that "
        "draws weight and bias together overrides it.",
        markdown(biases, ("rule", "bias")),
    ]
    return "\n\n".join(parts)


def show(table: list[dict[str, str]]) -> None:
    """The rows as a table in the terminal, one entry under the other where it is narrow."""
    from rich.table import Table

    from initbench.cli.terminal import Terminal

    console = Terminal()
    shown = Table(box=None, pad_edge=False, show_lines=False)
    columns = COLUMNS if console.width >= 140 else ("name", "formula", "meant for")
    for column in columns:
        shown.add_column(column, overflow="fold", style="bold" if column == "name" else "")
    for row in table:
        shown.add_row(*(row[column] for column in columns))
    console.print(shown)
    console.print(f"{len(table)} initializers; --markdown shows all columns, --check NAME tests the contract of one")


def check_entry(target: str, given: Mapping[str, Any] | None = None) -> list[str]:
    """Violations of the contract of an entry or option, or, for your own function, of what all must keep.

    >>> check_entry("orthogonal"), check_entry("lsuv")
    ([], [])
    """
    from initbench.initializers import check_args, needs, verify_net
    from initbench.initializers.calling import names
    from initbench.initializers.contract import Contract
    from initbench.initializers.registry import entry_of
    from initbench.initializers.verify import check, draw_all

    function, args, changed = found(target, given)
    known = entry_of(function)
    if known is not None and known.needs != "nothing":
        return verify_net.check(known, changed)
    if known is not None:
        return check(known, args=changed)
    check_args(function, args)
    try:
        if needs(function) != "nothing":
            whole = replace(stranger(), function=function, needs=needs(function))
            return with_word_on_unused(function, verify_net.use_of_generator(whole, args))
        own = Contract("your own", fills_bias=names(function, "bias"))
        violations = draw_all(function, own, args)
        measured(target, given)
    except (InputError, NotApplicable) as refusal:
        return [str(refusal)]
    except Exception as error:  # whatever the person's own function raises
        return [f"it raised {line(error)}"]
    return with_word_on_unused(function, violations)


UNUSED = "the generator is not used"
DETERMINISTIC = "a deterministic initializer leaves `generator` out of its signature"


def with_word_on_unused(function: Callable[..., Any], violations: Sequence[str]) -> list[str]:
    """What your own function breaks; it may draw nothing if it takes no generator."""
    from initbench.initializers.calling import names

    others = [words for words in violations if UNUSED not in words]
    alike = [f"{words}; {DETERMINISTIC}" for words in violations if UNUSED in words]
    return [*alike[:1], *others] if names(function, "generator") else others


def found(
    target: str, given: Mapping[str, Any] | None = None
) -> tuple[Callable[..., Any], dict[str, Any], dict[str, Any]]:
    """(function, arguments, those that differ from the function's defaults) of what --check names; `given`: by hand."""
    from initbench.initializers import REGISTRY, options, resolve
    from initbench.initializers.calling import RESERVED_KEYS
    from initbench.initializers.option_files import known, load_option
    from initbench.own import plugins

    if target in REGISTRY or target not in known():
        if not any(("." in target, target in REGISTRY, target in plugins.installed(plugins.INITIALIZERS))):
            near = get_close_matches(target, [*REGISTRY, *known()], n=3, cutoff=0.5)
            raise refusal(
                f"--check {shown(target)}",
                "not in the catalogue",
                (f"did you mean {' or '.join(dict.fromkeys(near))}? " if near else "")
                + "name an entry, an option of init, or module.function",
            )
        return resolve(target), dict(given or {}), dict(given or {})
    content = load_option(target)
    function = resolve(content["_target_"])
    args = {key: value for key, value in content.items() if key not in RESERVED_KEYS} | dict(given or {})
    own = options(function)
    return function, args, {key: value for key, value in args.items() if value != own.get(key)}


def stranger() -> Any:
    """An entry for a function that the catalogue does not know."""
    from initbench.initializers import Contract, Entry

    return Entry("your own", print, "", "", "", Contract("your own"))


SHAPES = ((128, 32), (32, 128), (64, 64))  # (fan_out, fan_in): apart, so that swapped fans show
UNITS: dict[str, Callable[[int, int], float]] = {
    "": lambda m, n: 1.0,
    " / sqrt(fan_in)": lambda m, n: n**0.5,
    " / sqrt(fan_out)": lambda m, n: m**0.5,
    " / sqrt((fan_in + fan_out) / 2)": lambda m, n: ((m + n) / 2) ** 0.5,
}


def measured(target: str, given: Mapping[str, Any] | None = None) -> str:
    """What your own function draws, in one line: its mean, and how its deviation goes with the fans of three shapes.

    >>> measured("lecun_normal")
    'at 128 x 32, 32 x 128, 64 x 64 (fan_out x fan_in): mean 0.00, std 1.00 / sqrt(fan_in), 0% zeros'
    """
    import torch

    from initbench.initializers.calling import names
    from initbench.initializers.verify import case, draw

    function, args, _ = found(target, given)
    pairs = [draw(function, case(shape, args), seed, torch.float64) for shape in SHAPES for seed in range(20)]
    drawn = [torch.stack([w for w, _ in pairs if w.shape == shape]) for shape in SHAPES]
    mean, zeros = (
        sum(float(f(w)) for w in drawn) / len(drawn) for f in (torch.mean, lambda w: (w == 0).double().mean())
    )
    mean = 0.0 if abs(mean) < 5e-3 else mean
    where = ", ".join(f"{m} x {n}" for m, n in SHAPES)
    words = f"at {where} (fan_out x fan_in): mean {mean:.2f}, std {spread([float(w.std()) for w in drawn])}, {zeros:.0%} zeros"
    alike = all(bool((w == w[0]).all()) for w in drawn)
    words += ", deterministic: the same for every generator" if alike else ""
    kept = names(function, "bias") and all(
        bool((bias == 1).all()) for _, bias in pairs
    )  # `draw`'s rule is the constant 1
    return words + ("; the bias is left as init.bias fills it" if kept else "")


def spread(stds: Sequence[float]) -> str:
    """Deviations at SHAPES as one law of the fans, where one holds within 5%.

    >>> spread([0.5, 0.5, 0.5]), spread([1 / 128**0.5, 1 / 32**0.5, 1 / 8]), spread([1.0, 2.0, 3.0])
    ('0.50', '1.00 / sqrt(fan_out)', '1.00, 2.00, 3.00')
    """
    for words, unit in UNITS.items():
        scaled = [std * unit(m, n) for std, (m, n) in zip(stds, SHAPES)]
        if max(scaled) <= 1.05 * min(scaled):
            return f"{sum(scaled) / len(scaled):.2f}{words}"
    return ", ".join(f"{std:.2f}" for std in stds)


def arguments(words: Sequence[str]) -> dict[str, Any]:
    """The arguments `init.KEY=VALUE` beside --check.

    >>> arguments(["init.alpha=0.5"])
    {'alpha': 0.5}
    """
    import yaml

    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.startswith("init."):
            raise refusal(word, "no argument", "beside --check TARGET only init.KEY=VALUE is allowed")
        try:
            found[key.removeprefix("init.")] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise refusal(word, "its value cannot be read", "give a number, a word or a list") from None
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Print the catalogue, or check contracts; returns the exit status."""
    return answered("initbench", lambda: _asked(parser().parse_args(argv)))


def parser() -> Parser:
    """The command line."""
    made = Parser(prog="python -m initbench.catalogue", description=(__doc__ or "").partition("\n")[0])
    made.add_argument(
        "words", nargs="*", help="show only entries that contain one of these words; beside --check: init.KEY=VALUE"
    )
    made.add_argument("--markdown", action="store_true", help="the whole catalogue as a page, docs/catalogue.md")
    made.add_argument(
        "--check",
        nargs="?",
        const="all",
        metavar="TARGET",
        help="test a contract: an entry, an option, module.function of your own; without a name all of them",
    )
    made.add_argument("--json", action="store_true", help="the entries, or what --check found, as JSON")
    return made


def _asked(args: Namespace) -> int:
    if args.markdown and args.json:
        raise refusal("--markdown --json", "only one of them can be used at a time", "leave out --json")
    return _checked(args.check, arguments(args.words), args.json) if args.check else _listed(args)


def _listed(args: Namespace) -> int:
    words = args.words
    table = rows()
    if words:
        table = [row for row in table if any(word.lower() in " ".join(row.values()).lower() for word in words)]
    if not table:
        raise refusal(shown(" ".join(words)), "no initializer mentions it", "leave it out to list all")
    if args.json:
        as_json.say([{key.replace(" ", "_"): value for key, value in row.items()} for row in table])
    elif args.markdown:
        print(markdown(table) if words else page())
    else:
        show(table)
    return 0


def _checked(target: str, given: Mapping[str, Any], in_json: bool) -> int:
    from initbench.initializers import REGISTRY, needs
    from initbench.initializers.registry import entry_of

    names = [target] if target != "all" else sorted(REGISTRY)
    results = []
    for name in names:
        violations = check_entry(name, given)
        function, _, _ = found(name, given)
        own = entry_of(function) is None and needs(function) == "nothing" and not violations
        results.append(
            {
                "name": name,
                "holds": not violations,
                "violations": violations,
                "measured": measured(name, given) if own else None,
            }
        )
        if not in_json:
            show_check(results[-1])
    if in_json:
        as_json.say(results)
    return 0 if all(one["holds"] for one in results) else 1


def show_check(one: Mapping[str, Any]) -> None:
    """What a check found."""
    violations = one["violations"]
    print(f"{one['name']}: contract {'holds' if one['holds'] else 'BROKEN'}", flush=True)
    for words in violations[:SHOWN]:
        print(f"  {words}")
    if len(violations) > SHOWN:
        print(f"  and {len(violations) - SHOWN} more")
    if one["measured"]:
        print(f"  {one['measured']}")


if __name__ == "__main__":
    sys.exit(main())
