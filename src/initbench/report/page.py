"""report.html: one file that needs nothing else, and lets nothing else in (content security policy by hash)."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Collection, Sequence
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from initbench.report import nets, overview
from initbench.report import numbers as num
from initbench.report.answer import four_numbers, span
from initbench.report.block import MOST_SETTINGS, Block, Draw
from initbench.report.blocks import blocks
from initbench.report.glossary import WORDS
from initbench.report.looked import facts
from initbench.report.notices import notices
from initbench.report.palette import variables
from initbench.report.sentences import word_counts
from initbench.report.source import Source
from initbench.report.svg import drawing
from initbench.report.words import Sentence, html, listed

MOST_NAMES = 40  # of a list
METHODS = (
    "T, the steps to target, is the step of the first evaluation at or past the target, even if the run diverges later. "
    "A run without T within the budget, or that diverged before it, never arrived: it counts as infinite in medians and "
    "as the budget in means, and stays in every n. A failed run (a crash) counts in n and is in no pair of a ratio.",
    "The learning rate of a setup is chosen by the smallest mean log min(T, budget) over seeds; ties go to the larger "
    "share arrived, then the lower final loss, then the smaller rate. For ratios, ranks and verdicts it is chosen on one "
    "half of the seeds and judged on the other, both ways, over 20 random halvings. Medians, shares and curves are shown "
    "at the rate chosen on all seeds.",
    "Ratios are exp of the difference of the cross-fitted means, paired by seed (same split, batches and noise). Intervals "
    "are estimate ± t(n-1) SE, with SE from 2,000 bootstrap resamples of the seeds through the whole procedure, choice of "
    "the rate included, times sqrt(n/(n-1)); for medians the exact percentile bootstrap, for shares Wilson's. All intervals "
    "are 95% and pointwise.",
    "Verdicts are given for each setup against the baseline of its setting. A ratio is judged only where both arrive in at "
    "least 80% of their seeds; where one does, the seeds that arrived are compared (exact McNemar). Equivalent: the 90% "
    "interval lies inside 1/1.1 to 1.1 and n ≥ 10. Faster or slower: p < .05 after Holm's correction over the setting, or "
    "over report.family; setups with equal steps and losses in every common run are the same nets and count once. p values and "
    "intervals count earlier looks at fewer seeds or learning rates of the same runs. "
    "Nothing is called faster than a setup whose best rate lies at the end of its grid, no verdict is given that would "
    "change if every T were one evaluation earlier, and n < 8 decides nothing. All else is undecided.",
    "FLOPs count multiplications and additions of training steps and the initialization, not evaluations.",
)  # fmt: skip
LOOKS = (
    "The study went on until it was decided: it was judged at planned numbers of seeds, and a pair with a word got no more. "
    "Each p is replaced by the chance that equal setups ever show one as small at any of the planned looks (nested samples), "
    "then corrected by Holm over the setting, with pairs called faster or slower left out of later families; intervals are "
    "those of that level at the look where the pair stopped (repeated intervals)."
)
FILES = {  # the format that writes it, None: always there
    "report.md": ("md", "the answer and the table for a README or a pull request"),
    "leaderboard.csv": ("csv", "every arm, every column (inf = never)"),
    "comparisons.csv": ("csv", "every setup against its baseline: verdict, ratio, interval, p, what would decide"),
    "pairs.csv": ("csv", "every two setups: verdict, ratio, interval, p"),
    "effects.csv": ("csv", "what each factor costs, on average and within each level of the others"),
    "summary.csv": ("csv", "restricted means, final losses, areas under the loss curve"),
    "runs.parquet": (None, "one row per run"),
    "history.parquet": (None, "every measured value"),
    "study.json": (None, "what was asked, versions, machine"),
    "study.zip": ("archive", "the study as one file; python -m initbench.report study.zip rebuilds its tables"),
    "figures/": ("figures", "every figure as SVG and PDF"),
}


@cache
def _environment() -> Environment:
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False, lstrip_blocks=False)


def _asset(name: str) -> str:
    return resources.files("initbench.report").joinpath("templates", name).read_text(encoding="utf-8")


def page(
    source: Source,
    command: str | None = None,
    drawn: tuple[list[Block], Draw] | None = None,
    formats: Collection[str] = (),
    title: str | None = None,
    lead: Sentence | None = None,
    each: Sequence[tuple[str, Sentence]] = (),
    focus: str | None = None,
) -> str:
    """The whole page. Same source, same text. `drawn`: its blocks, if they are at hand; `formats`: what is written beside
    it, to which it links; `title`, `lead`, `each` (by setting): of a page that asks something else, `focus`: the setup that it is about."""
    with drawing():
        shown, draw = drawn or blocks(source)
    return render(
        draw,
        title=title or f"{source.study.get('study', 'study')}: which setup trains fastest?",
        subtitle=_subtitle(source),
        answer=html(overview.first_answer(source) if lead is None else lead),
        each=[(setting, html(one)) for setting, one in (overview.each(source) if lead is None else each)],
        words=WORDS,
        told=[(name, html(sentence)) for name, sentence in facts(source)],
        four=four_numbers(source),
        notices=[{"title": n.title, "text": html(n.text)} for n in notices(source)],
        ran=what_was_run(source),
        blocks=shown,
        methods=(methods(source), *METHODS, *([] if source.decide is None else [LOOKS])),
        command=rebuild_commands(source, command, focus),
        facts=where_it_ran(source),
        files=[
            (name, what)
            for name, (form, what) in FILES.items()
            if form in (None, *formats) and (source.every or name != "pairs.csv")
        ],
        pack="" if "archive" in formats else shlex.join([*_of_folder(source), "--format", "archive"]),
    )


def render(
    draw: Draw, *, each: Sequence[tuple[str, Markup]] = (), words: Sequence[tuple[str, str]] = (), **content: Any
) -> str:
    """The template filled with `content`, its styles and script admitted by their hashes alone."""
    css = _asset("report.css").replace("LIGHT", variables(False)).replace("DARK", variables(True))
    css = css.replace("\n", "") + draw.styles.css()
    script = _asset("report.js")
    policy = "; ".join(
        [
            "default-src 'none'", f"style-src '{_hash(css)}'", f"script-src '{_hash(script)}'", "img-src data:",
            "base-uri 'none'", "form-action 'none'",
        ]
    )  # fmt: skip
    template = _environment().from_string(_asset("report.html.j2"))
    text = template.render(policy=policy, css=Markup(css), script=Markup(script), each=each, words=words, **content)
    return text.lstrip() + "\n"


def methods(source: Source) -> str:
    """What was done, in the words of a paper's methods section."""
    runs, board = source.runs, source.board
    if runs.empty:
        return "No run was made."
    arms = source.profile.groupby("arm")
    seeds, rates = span(arms["n"].max(), "seed"), span(arms["lr"].nunique(), "learning rate")
    goal = "no target was set"
    if source.target is not None:
        on = num.measured_on(source.study)
        goal = f"trained means {num.target_words(*source.target)}, measured on {on} of each seed's split (train.eval_samples)"
    setups, settings = board["setup"].nunique(), len(source.settings)
    version = (source.study.get("versions") or {}).get("initbench", "")
    baselines = list(dict.fromkeys(board["baseline"].dropna().astype(str)))
    against = f"Every setup was compared with {baselines[0]}. " if len(baselines) == 1 else ""
    return (
        f"We trained {num.plural(setups, 'setup')} (initializer and parameter sharing{nets.different(board)}) in {num.plural(settings, 'setting')} "
        f"({source.settings[0]}{' and others' if settings > 1 else ''}) with {seeds} at "
        f"{rates} each, {source.all_runs:,} runs in all, with initbench {version}; {goal}. {against}"
        f"{_verdict_counts(source)}"
    )


def _verdict_counts(source: Source) -> str:
    counts = word_counts(source.pairs)
    return "Verdicts: " + ", ".join(f"{count} {word}" for word, count in counts.items()) + "." if counts else ""


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _subtitle(source: Source) -> str:
    created = str(source.study.get("created") or "")[:10]
    parts = [num.plural(len(source.board), "arm"), num.plural(source.all_runs, "run")]
    if source.target is not None:
        parts.append(f"target {num.target_words(*source.target)}, measured on {num.measured_on(source.study)}")
    return " · ".join([*parts, *([created] if created else [])])


def what_was_run(source: Source) -> list[tuple[str, str]]:
    """Name and value, for the list under the answer."""
    runs, study = source.runs, source.study
    seeds = sorted({int(seed) for seed in runs["seed"]})
    consecutive = seeds == list(range(len(seeds)))
    shown = f"{len(seeds)} (0–{seeds[-1]})" if consecutive and len(seeds) > 2 else ", ".join(map(str, seeds[:30]))
    board = source.board
    target = "none"
    if source.target is not None:
        sign = "≥" if source.target[0].startswith("accuracy") else "≤"
        target = f"{source.target[0]} {sign} {source.target[1]:g}, on {num.measured_on(study)} (train.eval_samples)"
        own = study.get("target")
        if own and (own["metric"], float(own["value"])) != source.target:
            target += f" (the study's own: {own['metric']} {float(own['value']):g})"
    baselines = list(dict.fromkeys(board["baseline"].dropna().astype(str)))
    return [
        ("Settings", _settings(source)),
        ("Initializers", listed(sorted(board["init"].astype(str).unique()), MOST_NAMES)),
        ("Sharing", listed(sorted(board["sharing"].astype(str).unique()), MOST_NAMES)),
        (
            "Learning rates",
            listed([num.rate(lr) for lr in sorted(runs["optim.lr"].astype(float).unique())], MOST_NAMES),
        ),
        ("Seeds", shown or "none"),
        ("Target", target),
        ("Baseline", listed(baselines, MOST_NAMES) or "none"),
    ]


def where_it_ran(source: Source) -> list[tuple[str, str]]:
    """Versions, commit, machine, tracking."""
    study = source.study

    def pairs(value: Any) -> str:
        if isinstance(value, dict):
            return ", ".join(f"{key} {pairs(item)}" for key, item in sorted(value.items()))
        return str(value)

    tracking = study.get("mlflow")
    elapsed = study.get("elapsed")
    return [
        ("Versions", pairs(study.get("versions") or "unknown")),
        ("Commit", str(study.get("git") or "not in a git repository")),
        ("Machine", pairs(study.get("machine") or "unknown")),
        ("Created", str(study.get("created") or "unknown")),
        *([("Took", f"{float(elapsed):,.1f} seconds")] if elapsed is not None else []),
        ("MLflow", pairs(tracking) if tracking else "not tracked"),
    ]


def rebuild_commands(source: Source, command: str | None = None, focus: str | None = None) -> str:
    """The command that ran the study; and the one that built this page, if it asked for something else."""
    lines = [str(command or source.study.get("command") or "python -m initbench")]
    if source.changed:
        again = _of_folder(source)
        if focus is not None:
            again += ["--focus", focus]
        elif source.baseline is not None:
            again += ["--baseline", source.baseline]
        if source.family is not None:
            again += ["--family", source.family if isinstance(source.family, str) else ",".join(source.family)]
        if source.every:
            again += ["--pairs"]
        own = source.study.get("target")
        if source.target is not None and source.target != (own and (own["metric"], float(own["value"]))):
            again += ["--target", f"{source.target[0]}:{source.target[1]:g}"]
        lines.append(shlex.join(again))
    return "\n".join(lines)


def _of_folder(source: Source) -> list[str]:
    """The command that makes this study's report, as far as its folder."""
    folder = source.study.get("folder") or f"outputs/{source.study.get('study')}"
    return ["python", "-m", "initbench.report", str(folder)]


def _settings(source: Source) -> str:
    left = len(source.settings) - MOST_SETTINGS
    return "; ".join(source.settings[:MOST_SETTINGS]) + (f" and {left:,} more" if left > 0 else "")
