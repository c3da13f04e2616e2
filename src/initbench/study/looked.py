"""Growing a study by hand: with more seeds or learning rates the same comparisons are looked at again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from initbench.config.decide import FEWEST
from initbench.grammar import plural
from initbench.store import judged
from initbench.store.judged import Look, Pair
from initbench.study.foreseen import ALPHA, baseline_and_others

Runs = tuple[Sequence[int], Sequence[float]]  # of an arm: seeds and learning rates

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from initbench.study.command import Study
    from initbench.study.plan import PlannedArm


def pairs(study: Study) -> dict[str, dict[Pair, Look]]:
    """{setting: {pair: the sample at which it is judged}}; where no test is made there is no look.

    The baseline is the one asked for. Where another stands in, because that one does not arrive, it does so each time.
    """
    found: dict[str, dict[Pair, Look]] = {}
    if study.target is None or study.target.value is None:
        return found
    for setting in dict.fromkeys(arm.setting for arm in study.arms):
        base, others = baseline_and_others(study, setting)
        looks = {
            judged.pair(base.key, one.key, study.target.metric, study.target.value): sample(
                runs_of(base), runs_of(one), study.config.decide.enabled
            )
            for one in others
        }
        found[setting] = {pair: look for pair, look in looks.items() if len(look.seeds) >= FEWEST}
    return found


def runs_of(arm: PlannedArm) -> Runs:
    return arm.config.seeds, arm.config.optim.lrs


def sample(base: Runs, arm: Runs, planned: bool) -> Look:
    """The seeds that both arms run, and every learning rate of either.

    >>> sample(((0, 1, 2), (0.1, 0.3)), ((1, 2, 3), (0.3, 1.0)), False)
    Look(seeds=(1, 2), rates=(0.1, 0.3, 1.0), level=0.05, planned=False)
    """
    seeds, rates = set(base[0]) & set(arm[0]), {*base[1], *arm[1]}
    return Look(tuple(sorted(seeds)), tuple(sorted(rates)), ALPHA, planned)


def by_hand(study: Study) -> list[int]:
    """Seeds of the looks at smaller samples that a study which counts its looks itself has to count too.

    At most one at each number of seeds, of any setting; a sample with as many seeds and fewer rates is its first look.
    """
    found = set()
    for own in pairs(study).values():
        known = judged.looks_at(study.root, own)
        for pair, now in own.items():
            found |= {len(look.seeds) for look in judged.before(known[pair], now) if not look.planned}
    return sorted(found)


def looked(study: Study) -> list[dict[str, Any]]:
    """Earlier looks at smaller samples of the same runs, by setting: that of its pair with the most. Content of study.json.
    None for a study that counts them among its own (decide=true).

    error: P(one of two equal arms is called faster or slower at some of these looks or now, each at 5%).
    """
    out: list[dict[str, Any]] = []
    if study.config.decide.enabled:
        return out
    for setting, own in pairs(study).items():
        known = judged.looks_at(study.root, own)
        earlier = [(judged.before(known[pair], now), now) for pair, now in own.items()]
        most, now = max(earlier, key=lambda one: len(one[0]), default=([], None))
        if now is None or not most:
            continue
        from initbench.stats import nested  # only where it is needed: see foreseen.py

        sizes = sorted(len(look.seeds) for look in most)
        error = nested.crossed([*sizes, len(now.seeds)], nested.bound(ALPHA))
        out.append({"setting": setting, "times": len(sizes), "n": sizes, "error": round(error, 4)})
    return out


def note(root: Path, study: Mapping[str, Any], board: pd.DataFrame) -> None:
    """Write down that a study was judged: the pairs that could be tested, which takes one side that arrives.

    `study`: the content of its study.json. With decide=true at each size that it has looked at.
    """
    from initbench.stats import GATE, NOT_JUDGED

    target, planned = study["target"], "decide" in study
    if target is None:
        return
    arms = {arm["arm_key"]: arm for arm in study["arms"]}
    arrives = set(board.loc[board["share"].astype(float) >= GATE, "arm_key"])
    base_of: dict[str, str] = dict(
        board.loc[board["setup"] == board["baseline"], ["setting", "arm_key"]].itertuples(index=False)
    )
    found = {}
    for row in board[~board["verdict"].isin(("baseline", NOT_JUDGED))].to_dict("records"):
        key, base = row["arm_key"], base_of.get(row["setting"])
        if base is None or not {key, base} & arrives:
            continue
        ours, theirs = ((arms[one]["seeds"], arms[one]["lrs"]) for one in (key, base))
        look = sample(theirs, ours, planned)
        if len(look.seeds) >= FEWEST:
            at = judged.pair(base, key, target["metric"], target["value"])
            found[at] = [*parts(look, sorted({one["seeds"] for one in study.get("looks", ())})), look]
    judged.note(root, found)


def parts(look: Look, at: Sequence[int]) -> list[Look]:
    """The looks at the first seeds of a sample."""
    return [look._replace(seeds=look.seeds[:n]) for n in at if n < len(look.seeds)]


def line(one: Mapping[str, Any]) -> str:
    """One entry of `looked` for the terminal.

    >>> line({"setting": "s", "times": 2, "n": [10, 20], "error": 0.107})
    'looked at 2 times before (n = 10, 20): p values and intervals count these looks; decide=true plans them'
    """
    seeds = ", ".join(str(n) for n in one["n"])
    return (
        f"looked at {plural(one['times'], 'time')} before (n = {seeds}): p values and intervals count these looks; "
        "decide=true plans them"
    )
