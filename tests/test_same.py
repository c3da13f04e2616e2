"""Arms that are the same nets under several names: judged once, counted once, shown as one."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import frames
from hand import NEVER, runs_of, spread, tuned
from initbench import report, stats
from initbench.cli import terminal
from initbench.report.answer import answer, four_numbers
from initbench.report.notices import notices
from initbench.report.words import plain
from initbench.stats import looks, same

BASE, FAST, SLOW = spread(60, 12, 0.2, 1), spread(30, 12, 0.2, 2), spread(90, 12, 0.2, 3)
ONE = {"b": 0.2, "c": 0.2, "d": 0.2}  # b, c and d end at one loss


def said(runs: pd.DataFrame, baseline: str = "base") -> pd.DataFrame:
    return stats.judge(runs, None, baseline).pairs.set_index("setup")


def slow_groups(runs: pd.DataFrame) -> dict[str, str]:
    """Pair by pair, run by run: the obvious way."""
    found: dict[str, str] = {}
    table = {
        arm: {(row["seed"], row["optim.lr"]): (repr(row["steps_to_target"]), repr(row["loss/train"]), row["status"])
              for _, row in part.iterrows()}
        for arm, part in runs.groupby("arm", sort=False)
    }  # fmt: skip
    for arm, own in table.items():
        found[arm] = arm
        for head in [one for one in found if found[one] == one and one != arm]:
            common = own.keys() & table[head].keys()
            if all(own[k] == table[head][k] for k in common) and any(
                own[k][2] != "failed" and own[k][1] != "nan" for k in common
            ):
                found[arm] = head
                break
    return found


@given(st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_groups_are_those_of_the_slow_loop(seed):
    rng = np.random.default_rng(seed)
    rows = []
    for arm in range(8):
        kind = rng.integers(3)
        for s in range(3):
            for lr in (0.1, 0.2):
                status = ["completed", "diverged", "failed"][(kind + s) % 3 if kind == 2 else 0]
                value = NEVER if status == "failed" or kind == 1 else 5.0 * (kind + 1) + s
                rows.append({"arm": f"a{arm}", "setting": "s", "seed": s, "optim.lr": lr, "status": status,
                             "steps_to_target": value, "loss/train": NEVER if status != "completed" else kind + lr})  # fmt: skip
    runs = pd.DataFrame(rows).sample(frac=1 - 0.1 * rng.integers(2), random_state=int(seed))
    names = runs["arm"].unique()
    if runs.groupby("arm").size().nunique() == 1:  # whole: the order of equals is that of the frame
        assert stats.groups_of_same(runs) == slow_groups(runs)
    found = stats.groups_of_same(runs)
    assert set(found) == set(names)
    assert all(found[found[arm]] == found[arm] for arm in names)


@pytest.mark.parametrize(
    ("other", "alike"),
    [
        ({}, True),
        ({"steps_to_target": 61.0}, False),
        ({"loss/train": np.nextafter(0.2, 1)}, False),  # one bit
        ({"loss/val": 0.9}, False),
        ({"status": "failed"}, False),
        ({"setting": "t"}, False),
        ({"seed": 99}, True),  # not a common run
    ],
)
def test_one_run_that_differs_is_enough(other, alike):
    runs = pd.concat([_rows("a"), _rows("b")], ignore_index=True)
    for name, value in other.items():
        at = runs.index if name == "setting" else runs.index[runs["arm"] == "b"][:1]
        runs.loc[at[runs.loc[at, "arm"] == "b"], name] = value
    assert (stats.groups_of_same(runs)["b"] == "a") is alike


def _rows(arm: str) -> pd.DataFrame:
    return pd.DataFrame({"arm": arm, "setting": "s", "seed": range(3), "optim.lr": 0.1, "status": "completed",
                         "steps_to_target": 60.0, "loss/train": 0.2, "loss/val": 0.3})  # fmt: skip


def test_nets_that_only_diverge_or_fail_are_not_known_to_be_the_same():
    for status in ("diverged", "failed"):
        runs = pd.concat([_rows("a"), _rows("b")]).assign(
            status=status, steps_to_target=NEVER, **{"loss/train": NEVER, "loss/val": NEVER}
        )
        assert stats.groups_of_same(runs) == {"a": "a", "b": "b"}


def test_a_thousand_arms_take_well_under_a_second():
    runs = pd.concat([_rows("x")] * 1000, ignore_index=True).assign(
        arm=np.repeat([f"a{i}" for i in range(1000)], 3), **{"loss/train": np.repeat(np.arange(1000) // 2, 3) * 1.0}
    )
    started = time.perf_counter()
    found = stats.groups_of_same(runs)
    assert time.perf_counter() - started < 0.5
    assert len(set(found.values())) == 500


def test_a_family_counts_nets():
    apart = said(runs_of({"base": tuned(BASE), "b": tuned(FAST)}, loss=ONE)).loc["b"]
    found = said(runs_of({"base": tuned(BASE), **{name: tuned(FAST) for name in "bcd"}}, loss=ONE))
    assert found["family"].tolist() == [1] * 4
    for name in "bcd":
        assert (
            found.loc[name, ["verdict", "p_holm", "ratio", "pairs"]] == apart[["verdict", "p_holm", "ratio", "pairs"]]
        ).all()
    assert found.loc[["c", "d"], "same_as"].tolist() == ["b", "b"]
    assert found.loc["c", "reason"] == "the same nets as b, run by run"
    assert found.loc["b", "same_as"] == ""


@pytest.mark.parametrize("n", [1, 3, 9, 12])
def test_the_same_as_the_baseline_is_equivalent_whatever_n(n):
    arms = {"base": tuned(BASE[:n]), "b": tuned(BASE[:n]), "slow": tuned(SLOW[:n])}
    found = said(runs_of(arms, loss={"base": 0.2, "b": 0.2}))
    assert found.loc["b", ["verdict", "reason", "decide", "same_as"]].tolist() == [
        "equivalent", "the same nets as base, run by run", "", "base"]  # fmt: skip
    assert pd.isna(found.loc["b", "seeds_needed"])
    assert found.loc["slow", "family"] == 1
    alone = said(runs_of({"base": tuned(BASE[:n]), "slow": tuned(SLOW[:n])})).loc["slow"]
    assert found.loc["slow", "p_holm"] == pytest.approx(alone["p_holm"], nan_ok=True)


def test_where_nobody_arrives_the_same_nets_are_one_too():
    never = tuned([NEVER] * 12)
    found = said(
        runs_of({"base": never, "b": never, "c": never, "d": never}, loss={"base": 0.2, "b": 0.2, "c": 0.3, "d": 0.3})
    )
    assert found.loc["b", ["verdict", "same_as"]].tolist() == ["equivalent", "base"]
    assert found.loc["d", ["verdict", "same_as"]].tolist() == ["undecided", "c"]


def test_ranks_and_rank_intervals_count_nets():
    arms = {"base": tuned(BASE), "slow": tuned(SLOW), **{name: tuned(FAST) for name in "bcd"}}
    board = stats.leaderboard(runs_of(arms, loss=ONE), baseline="base")
    assert board["setup"].tolist() == ["b", "c", "d", "base", "slow"]
    assert board["rank"].tolist() == [1, 1, 1, 2, 3]
    assert board["same_as"].tolist() == ["", "b", "b", "", ""]
    assert board["rank_high"].tolist() == [1, 1, 1, 2, 3]


def test_the_baseline_leads_its_group_on_the_board():
    board = stats.leaderboard(runs_of({"z": tuned(BASE), "a": tuned(BASE)}, loss={"z": 0.2, "a": 0.2}), baseline="z")
    assert board[["setup", "same_as"]].values.tolist() == [["z", ""], ["a", "z"]]


def test_looks_judge_a_net_once():
    runs = runs_of({"base": tuned(BASE), "b": tuned(FAST), "c": tuned(FAST), "e": tuned(BASE)},
                   loss={**ONE, "base": 0.1, "e": 0.1})  # fmt: skip
    study = {"target": {"metric": "accuracy/train", "value": 0.95}, "baseline": "base"}
    rows = looks.take(runs, study, None, (12, 24), 0)
    assert {row["setup"]: row["family"] for row in rows} == {"b": 1, "c": 1, "e": 1}
    assert {row["setup"]: (row["verdict"], row["same_as"]) for row in rows} == {
        "b": ("faster", ""), "c": ("faster", "b"), "e": ("equivalent", "base")}  # fmt: skip
    more = runs_of({"base": tuned(BASE), "b": tuned(FAST), "c": tuned(FAST), "e": tuned(BASE), "f": tuned(SLOW)},
                   loss={**ONE, "base": 0.1, "e": 0.1})  # fmt: skip
    [row] = looks.take(more, study, None, (12, 24), 1, rows)
    assert (row["setup"], row["family"]) == ("f", 1)


def _study(tmp_path) -> report.Source:
    """eye and identity the same, xavier_normal the same as the baseline."""
    arms: Sequence[tuple[str, str]] = [("kaiming_normal", "none"), ("eye", "none"), ("lecun_normal", "none")]
    runs, history, study = frames.make_study(arms, seeds=10)
    new = {"eye": "identity", "kaiming_normal": "xavier_normal"}
    for old, name in new.items():
        part = runs[runs["init.name"] == old]
        label = f"{name} · none"
        renamed = dict(zip(part["run"], [f"x{run[1:]}" for run in part["run"]]))
        copy = part.assign(
            run=part["run"].map(renamed), arm=label, setup=label, arm_key=f"key{name}", **{"init.name": name}
        )
        runs = pd.concat([runs, copy], ignore_index=True)
        values = history[history["run"].isin(part["run"])].assign(run=lambda h, r=renamed: h["run"].astype(str).map(r))
        history = pd.concat(
            [history.astype({"run": str, "metric": str}), values.astype({"metric": str})], ignore_index=True
        )
        [entry] = [arm for arm in study["arms"] if arm["init"] == old]
        study["arms"].append({**entry, "label": label, "setup": label, "init": name, "arm_key": f"key{name}"})
    return report.open_source(frames.write_study(tmp_path / "same", runs, history, study))


def test_pages_show_one_net_as_one(tmp_path, capsys):
    source = _study(tmp_path)
    text = plain(answer(source, source.settings[0]))
    assert "5 setups, 3 different nets." in text
    assert "1 faster" in text  # eye, not eye and identity
    assert four_numbers(source)[0] == ("5", "arms", "1 setting, 3 different nets")
    [about] = [plain(n.text) for n in notices(source) if n.title == "2 setups are the same nets as another"]
    assert "identity · none = eye · none" in about
    assert "xavier_normal · none = kaiming_normal · none" in about
    paths = report.write(source, ["md", "csv", "html"])
    page, markdown = (paths[name].read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    assert "= eye · none" in page
    assert "| = eye · none the same nets |" in markdown
    board = pd.read_csv(paths["leaderboard.csv"], keep_default_na=False)
    assert board["same_as"].tolist().count("") == 3
    terminal.leaderboard(source.board, source.study["target"])
    shown = capsys.readouterr().out
    assert "= eye · none" in shown


def test_copies_by_hand():
    groups = {"a": "a", "b": "a", "c": "c", "d": "c"}
    assert same.copies(["b", "c", "d"], "a", groups) == {"b": "a", "d": "c"}
    assert same.copies(["b", "c", "d"], "a", groups, first=["d"]) == {"b": "a", "c": "d"}
