"""The leaderboard: entries made by hand with known ranks, what is refused, what --add shows, the bytes of the page."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from initbench.errors import InputError
from initbench.leaderboard import entry as files
from initbench.leaderboard import settings as grids
from initbench.leaderboard import steps
from initbench.leaderboard import words as board_words
from initbench.leaderboard.__main__ import main
from initbench.leaderboard.board import Board, board_of
from initbench.leaderboard.entry import Entry
from initbench.leaderboard.judged import over_settings
from initbench.leaderboard.page import curves, files_of
from initbench.leaderboard.place import sentences
from initbench.leaderboard.profile import profile, within
from initbench.leaderboard.runs import runs_of
from initbench.leaderboard.settings import Grid
from initbench.leaderboard.standing import Standing, ranks, shuffle, standing, stretch
from initbench.report.words import plain
from initbench.stats import performance_profile
from initbench.stats.compare import Arms
from initbench.stats.crossfit import weights

NET = "data=points, data.samples=32, model.width=4, train.stop_when_reached=true, measure=none"
GRID = f"""
baseline: kaiming_normal
best: 1
left_out: {{dirac: for convolutions only}}
studies:
  deep: [{NET}, "model.depth=1,2", "model.activation=relu,tanh", seeds=10, "optim.lr=[0.03,0.1,0.3]", train.steps=60]
"""
TINY = f"""
baseline: kaiming_normal
studies:
  tiny: [{NET}, model.depth=2, "model.activation=relu,tanh", seeds=3, "optim.lr=[0.1,0.3]", train.steps=40, train.target.value=0.2]
"""


def grid_of(folder: Path, text: str) -> Grid:
    path = folder / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return grids.read(path)


@pytest.fixture(scope="module")
def grid(tmp_path_factory) -> Grid:
    found = grid_of(tmp_path_factory.mktemp("grid"), GRID)
    assert found.settings  # composed once
    return found


def made(
    grid: Grid,
    name: str,
    factor: float,
    *,
    seed: int = 0,
    never=(),
    lacks=(),
    sharing=("none",),
    sd=0.05,
    source=None,
    best=None,
) -> Entry:
    """An entry whose best steps are 20 x factor, spread by exp(sd z), at the middle of its rates or at rate number `best`."""
    results = {}
    for number, kind in enumerate(sharing):
        rng, rows = np.random.default_rng([seed, number]), []
        for one in grid.settings:
            head = {"setting": one.label, "grid": one.digest}
            if one.label in lacks:
                rows.append({**head, "not_applicable": "it needs a square matrix"})
                continue
            table, losses = {}, {}
            for i, lr in enumerate(one.lrs):
                away = abs(i - (len(one.lrs) // 2 if best is None else best))
                drawn = 20 * factor * 2.0**away * np.exp(sd * rng.normal(size=len(one.seeds)))
                at = [one.evaluated[min(int(np.searchsorted(one.evaluated, t)), len(one.evaluated) - 1)] for t in drawn]
                table[repr(lr)] = ["never" if one.label in never or t >= one.steps else t for t in at]
                losses[repr(lr)] = [round(0.1 + 1e-4 * seed + 1e-3 * j, 7) for j in range(len(one.seeds))]
            numbers = {"flops_per_step": 1e6, "stored_parameters": 30, "used_parameters": 30, "state_bytes": 240}
            rows.append({**head, **numbers, "init_flops": [10.0] * len(one.seeds), "steps": table, "loss": losses})
        results[kind] = rows
    how = {"versions": {"initbench": "0.1.0"}, "machine": {"cores": "2"}, "minutes": 1.5}
    return files.sealed(
        {"format": 1, "initializer": name, "target": f"initbench.initializers.{name}_", "args": {}, "source": source,
         "grid": grid.digest, "seeds": list(grid.settings[0].seeds), "results": results, "made": how}
    )  # fmt: skip


def labels(grid: Grid) -> list[str]:
    return [one.label for one in grid.settings]


@pytest.fixture(scope="module")
def entries(grid) -> list[Entry]:
    return [
        made(grid, "kaiming_normal", 1.0, seed=1, sharing=("none", "all")),
        made(grid, "fast", 0.5, seed=2, sharing=("none", "all")),
        made(grid, "near", 1.0, seed=1),  # the same outcomes, and losses
        made(grid, "noisy", 1.05, seed=4, sd=0.4),
        made(grid, "slow", 2.0, seed=5, source={"my_init": "raise SystemExit('a trap')"}),
        made(grid, "half", 0.9, seed=6, never=labels(grid)[::2], source={"half": ""}),
        made(grid, "dead", 1.0, seed=7, never=labels(grid)),
        made(grid, "square", 0.5, seed=8, lacks=labels(grid)[:1]),
    ]


@pytest.fixture(scope="module")
def board(entries, grid) -> Board:
    return board_of(entries, grid)


# ------------------------------------------------------------------------------------------------ standing


def test_known_ranks_words_and_groups(board):
    assert board.order == ["fast", "kaiming_normal", "near", "noisy", "half", "slow", "dead"]
    assert board.place("fast") == (1, 1, 1)
    assert board.place("kaiming_normal")[0] == board.place("near")[0] == 2  # a tie shares a place
    assert board.place("dead") == (7, 7, 7)
    words = board.against_baseline["verdict"]
    assert {name: words[name] for name in ("fast", "near", "noisy", "slow", "dead")} == {
        "fast": "faster", "near": "equivalent", "noisy": "undecided", "slow": "slower", "dead": "slower"
    }  # fmt: skip
    assert board.against_baseline["test"]["dead"] == "reached"
    assert board.against_baseline["ratio"]["fast"] == pytest.approx(0.5, rel=0.05)
    assert [board.group(name) for name in ("fast", "noisy", "slow")] == ["best", "like the baseline", "slower"]
    assert board.partial == ["square"]
    assert list(board.sizes.values()) == [1, 0, 2, 3]  # the baseline itself is none of the three
    assert board.counts("square") == {"faster": 3, "equivalent": 0, "slower": 0, "undecided": 0}
    assert board.counts("fast")["faster"] == 4


def test_who_is_slower_at_rates_that_were_not_searched_to_the_end_is_not_called_the_best(entries, grid):
    last = len(grid.settings[0].lrs) - 1
    board = board_of([*entries[:2], made(grid, "edge", 2.0, seed=9, best=last)], grid)
    assert tuple(board.against_best.loc["edge", ["verdict", "why"]]) == ("undecided", "lr")
    assert board.group("edge") == "like the baseline"
    said = plain(board_words.answer(board))
    assert "It is faster than all others but edge, whose best rate lies at an end of the grid in most settings." in said
    rare = made(
        grid, "rare", 2.0, seed=9, best=last, never=labels(grid)[1:]
    )  # arrives in one setting of four, best at the end
    board = board_of([*entries[:2], rare], grid)
    assert board.edges["rare"] == 0.25
    assert board.against_best["verdict"]["rare"] == "slower"
    level = board_of([*entries[:2], made(grid, "edge", 0.5, seed=9, best=last)], grid)
    assert {level.group("fast"), level.group("edge")} == {"best"}


def test_two_that_rarely_arrive_are_not_compared_and_not_said_to_be_alike(board):
    lines = sentences(board, "dead")
    assert "not compared with those that arrive in less than 80% of their runs, as it does: half" in lines
    assert not any(line.startswith("cannot be told from") for line in lines)
    assert "cannot be told from: near, noisy" in sentences(board, "kaiming_normal")


def test_never_counts_as_the_budget(board, grid):
    dead = board.standing.names.index("dead")
    assert np.allclose(board.standing.theta[dead], np.log(grid.settings[0].steps))
    assert board.standing.share("half") == 0.5


def test_the_bootstrap_is_that_of_a_plain_loop(grid):
    """One rate, so that theta of a draw is a weighted mean: scores, ranks and their ends by loops."""
    found = [made(grid, f"x{i}", 1.0 + 0.05 * i, seed=i, sd=0.3) for i in range(4)]
    runs = runs_of(found, grid)
    runs = runs[runs["optim.lr"] == 0.1]
    names, at = [one.name for one in found], labels(grid)
    ours = standing(Arms(runs, resamples=200), names, at, resamples=200)
    scores = np.zeros((4, 200))
    for a, name in enumerate(names):
        for label in at:
            part = runs[(runs["setup"] == name) & (runs["setting"] == label)].sort_values("seed")
            y = np.log(part["steps_to_target"].fillna(60).to_numpy())
            for d in range(200):
                scores[a, d] += (weights(10, 200)[shuffle(label, 200)[d]] * y).sum() / 10 / len(at)
    assert np.allclose(ours.score_draws, scores)
    middle = scores_of(runs, names, at)
    scores = middle + stretch(10) * (scores - middle)
    for a in range(4):
        places = sorted(1 + sum(scores[b, d] < scores[a, d] - 1e-9 for b in range(4)) for d in range(200))
        assert list(ours.rank_interval[a]) == [places[4], places[194]]  # the 5th and the 195th of 200


def test_settings_are_drawn_apart_from_one_another():
    assert sorted(shuffle("a", 50)) == list(range(50))
    assert np.array_equal(shuffle("a", 50), shuffle("a", 50))
    assert not np.array_equal(shuffle("a", 50), shuffle("b", 50))


def test_faster_where_it_arrives_but_rarely_there_decides_nothing(grid):
    rarely = made(grid, "rarely", 0.1, seed=3, never=labels(grid)[:1])
    board = board_of([made(grid, "kaiming_normal", 1.0, seed=1), rarely], grid)
    row = board.against_baseline.loc["rarely"]
    assert (row["test"], row["verdict"]) == ("reached", "undecided")
    assert row["ratio"] < 1
    assert board.group("rarely") == "best"


def scores_of(runs, names, at) -> np.ndarray:
    """(names, 1) means over settings of the mean log steps."""
    y = runs.assign(y=np.log(runs["steps_to_target"].fillna(60))).groupby(["setup", "setting"])["y"].mean()
    return np.array([[np.mean([y[name, label] for label in at])] for name in names])


def standing_of(theta: np.ndarray, draws: np.ndarray, names: list[str], at: list[str]) -> Standing:
    rows, columns, resamples = draws.shape
    return Standing(names, at, theta, draws, np.ones((rows, columns, 8), bool), np.ones((rows, columns, resamples)))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(1, 5))
def test_neither_order_of_names_nor_of_settings_matters(seed, rows, columns):
    rng = np.random.default_rng(seed)
    theta = rng.integers(1, 4, (rows, columns)) / 7  # with ties
    draws = theta[:, :, None] + rng.integers(0, 3, (rows, columns, 60)) / 11
    names, at = [f"i{k}" for k in range(rows)], [f"s{k}" for k in range(columns)]
    one = standing_of(theta, draws, names, at)
    p, q = rng.permutation(rows), rng.permutation(columns)
    other = standing_of(theta[p][:, q], draws[p][:, q], [names[i] for i in p], [at[j] for j in q])
    assert np.array_equal(one.rank[p], other.rank)
    assert np.array_equal(one.rank_interval[p], other.rank_interval)
    assert [names[i] for i in one.order] == [other.names[i] for i in other.order]
    words = over_settings(one, "i0")["verdict"].sort_index()
    assert words.equals(over_settings(other, "i0")["verdict"].sort_index())


def test_ties_share_a_place():
    assert ranks(np.array([[3.0, 1.0], [1.0, 1.0], [1.0 + 1e-13, 2.0]])).tolist() == [[3, 1], [1, 1], [1, 3]]


def test_the_profile_is_that_of_the_report_and_lies_in_its_band(board):
    ratios = np.array([1.0, 1.5, 2.0, 64.0])
    ours = profile(board.standing, ratios)
    shown = board.judged.board[board.judged.board["setup"].isin(board.ranked)]
    theirs = performance_profile(shown, ratios).pivot(index="setup", columns="ratio", values="share")
    assert np.allclose(ours.share, theirs.loc[board.standing.names].to_numpy())
    assert (ours.low <= ours.share).all()
    assert (ours.share <= ours.high).all()
    assert (ours.share[board.standing.names.index("dead")] == 0).all()


def test_the_words_of_the_profile_are_of_all_and_its_curves_of_each_net_once(grid):
    """The one that is near most often need not be among the first."""
    found = [made(grid, f"x{i}", 0.5 + 0.01 * i, seed=10 + i, never=labels(grid)[:1]) for i in range(6)]
    twin = made(grid, "x00", 0.5, seed=10, never=labels(grid)[:1])
    board = board_of([made(grid, "kaiming_normal", 2.0, seed=1), *found, twin, made(grid, "steady", 1.9, seed=3)], grid)
    assert {"x0", "x00"} & set(curves(board)) == {"x0"}
    assert "steady" not in curves(board)
    page = files_of(board.entries, grid)["index.html"]
    assert "within 8x of the fastest most often: kaiming_normal, steady, in 4." in page


def test_nobody_arrives_in_a_setting():
    assert within(np.zeros((2, 1)), np.zeros((2, 1), bool), np.array([1.0, 8.0])).tolist() == [[0.0, 0.0], [0.0, 0.0]]


# ------------------------------------------------------------------------------------------------ entries


def stored(folder: Path, entries: list[Entry], text: str = GRID) -> Path:
    (folder / "settings.yaml").write_text(text, encoding="utf-8")
    for one in entries:
        files.write(one, folder / "entries")
    return folder


def called(folder: Path, *flags: str) -> int:
    where = ["--settings", str(folder / "settings.yaml"), "--outputs", str(folder / "outputs"), "--workers", "1"]
    return main([*flags, *where])


def edited(content, *path, value):
    """A copy of an entry's content with one value replaced."""
    copy = json.loads(json.dumps(content))
    at = copy
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return copy


def test_an_entry_comes_back_as_it_was_written(tmp_path, entries, grid):
    path = files.write(entries[0], tmp_path)
    again = files.read(path, grid)
    assert again == entries[0]
    assert again.text == path.read_text("utf-8")


FIRST = ("results", "none", 0)
REFUSED = {
    "its hash is not that of its content": lambda c: {**c, "args": {"gain": 2}},
    "its seeds are 0, 1, those of the leaderboard 0, 1, 2": lambda c: sealed(c, "seeds", value=[0, 1]),
    "its settings are not those of the leaderboard: it lacks": lambda c: sealed(
        c, "results", "none", value=c["results"]["none"][1:]
    ),
    "it was made with other data, net or training": lambda c: sealed(c, *FIRST, "grid", value="0" * 16),
    "it was made on another grid": lambda c: sealed(c, "grid", value="0" * 16),
    "its rates are not 0.03, 0.1, 0.3": lambda c: sealed(c, *FIRST, "steps", value={"0.1": [1] * 10}),
    "steps: 59 cannot be": lambda c: sealed(c, *FIRST, "steps", "0.1", 0, value=59),  # no step of an evaluation
    "steps: None cannot be": lambda c: sealed(c, *FIRST, "steps", "0.1", 0, value=None),
    "steps: True cannot be": lambda c: sealed(c, *FIRST, "steps", "0.1", 0, value=True),
    "flops_per_step must be a number": lambda c: sealed(c, *FIRST, "flops_per_step", value=-1),
    "state_bytes must be a number": lambda c: sealed(c, *FIRST, "state_bytes", value=10**400),  # no float at all
    "init_flops must hold a number": lambda c: sealed(c, *FIRST, "init_flops", value=[1e308] * 10),  # infinite as a sum
    "made must be versions": lambda c: sealed(c, "made", "minutes", value=10**400),
    "loss: 1000": lambda c: sealed(c, *FIRST, "loss", "0.1", 0, value=10**400),
    "stored_parameters is 1, that of the baseline 30": lambda c: sealed(c, *FIRST, "stored_parameters", value=1),
    "must be versions, machine and minutes": lambda c: sealed(c, "made", "machine", value={"cores": "2\n\n# Mine"}),
    "format 2, this version reads 1; update initbench": lambda c: sealed(c, "format", value=2),
    "it is the entry of 'other'": lambda c: sealed(c, "initializer", value="other"),
    "initializer must be letters, digits and _ of ASCII": lambda c: sealed(c, "initializer", value="../x"),
    "key made is missing": lambda c: {key: value for key, value in c.items() if key != "made"},
    "key more is unknown": lambda c: {**c, "more": 1},
    "must be an object": lambda c: [c],
}  # fmt: skip


def sealed(content, *path, value):
    return files.sealed(edited(content, *path, value=value)).content


@pytest.fixture
def composed(grid, monkeypatch) -> None:
    """The grid is not composed anew by each command."""
    monkeypatch.setattr(grids, "read", lambda path: grid)


@pytest.mark.parametrize("words", REFUSED)
def test_what_does_not_fit_is_refused_in_one_line(tmp_path, entries, capsys, words, composed):
    folder = stored(tmp_path, entries[:2])
    path = folder / "entries" / "fast.json"
    path.write_text(json.dumps(REFUSED[words](dict(entries[1].content))), encoding="utf-8")
    assert called(folder) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"initbench: {path}: ")
    assert words.replace("'other'", "other") in lines[0]
    assert not (folder / "README.md").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ('{"a": NaN}', "NaN is no number"),
        ("[" * 100_000, "nested too deep"),
        ("1", "must be an object"),
        ('{"a": 1e400}', "1e400 is no number"),
        ('{"a": 1, "a": 2}', "key a is there twice"),
        (" " * (files.MOST_BYTES + 1), "larger than 2,097,152 bytes"),
    ],
)
def test_a_file_that_is_no_entry(tmp_path, entries, capsys, text, words, composed):
    folder = stored(tmp_path, entries[:1])
    (folder / "entries" / "a.json").write_text(text, encoding="utf-8")
    (folder / "entries" / "b.json").write_text("{}", encoding="utf-8")
    assert called(folder) == 2
    first, second = capsys.readouterr().err.splitlines()  # a line a file
    assert "a.json: " in first
    assert words in first
    assert "b.json: " in second


def test_depth_is_refused_wherever_it_is_met(tmp_path, entries, grid):
    """Lists nested as deep as the parser allows, and beyond: a refusal, no traceback. What it allows depends on the caller's depth."""
    for depth in range(800, 1010):
        path = tmp_path / "fast.json"
        path.write_text(entries[1].text.replace('"args": {}', '"args": {"a": ' + "[" * depth + "]" * depth + "}"))
        with pytest.raises(InputError, match=r"nested too deep|its hash is not"):
            files.read(path, grid)


def test_what_is_no_file_is_not_read(tmp_path, grid):
    """A device without an end and a pipe without a writer would hold the command for ever."""
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.json")
    found, refused = files.read_all(tmp_path, grid)
    assert not found
    assert [str(error).split(": ")[1].split(";")[0] for error in refused] == [
        "no regular file", "cannot be read (No such file or directory)", "no regular file", "no regular file"
    ]  # fmt: skip


def test_nobody_is_another_initializer(tmp_path, grid):
    """An option's name stands for its function; a name of one's own is never a look-alike of it."""
    honest = made(grid, "xavier_normal", 1.0)
    assert not files.read(files.write(honest, tmp_path), grid).own
    other = files.sealed({**honest.content, "target": "my_init.mine"})
    with pytest.raises(InputError, match=r"xavier_normal is initbench.initializers.xavier_normal_, not my_init.mine"):
        files.read(files.write(other, tmp_path), grid)
    with pytest.raises(InputError, match="initializer must be letters"):
        files.read(files.write(made(grid, "xavier_norm\u0430l", 1.0), tmp_path), grid)
    assert files.read(
        files.write(made(grid, "my_init.mine", 1.0), tmp_path), grid
    ).own  # whether or not it shows its source


def test_a_board_needs_its_baseline(tmp_path, entries, capsys, composed):
    assert called(stored(tmp_path, entries[1:2])) == 2
    assert "no entry of kaiming_normal" in capsys.readouterr().err
    assert called(tmp_path, "--add", "eye") == 2  # before anything is trained
    for name in ("my_init.caf\u00e9", "eye,zeros"):  # the entry of the first would be refused
        capsys.readouterr()
        assert called(tmp_path, "--add", name) == 2
        assert "must name one initializer" in capsys.readouterr().err


def test_flags_that_exclude_one_another(tmp_path, capsys):
    assert main(["--run", "--check"]) == 2
    assert "only one of them" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["seeds: 3", "baseline: eye", "[]", "baseline: eye\nstudies: {a: [1]}", "{"])
def test_a_settings_file_that_is_none(tmp_path, capsys, text):
    (tmp_path / "settings.yaml").write_text(text, encoding="utf-8")
    assert called(tmp_path) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


# ------------------------------------------------------------------------------------------------ the page


def test_the_same_entries_give_the_same_bytes_and_nothing_of_them_runs(entries, grid):
    one, other = files_of(entries, grid), files_of(entries[::-1], grid)
    assert one == other
    page, text = one["index.html"], one["README.md"]
    assert len(page.encode()) < 3e6
    assert "a trap" not in page + text
    for words in (
        "Who is fastest",
        "How often is it near the best",
        "In which settings",
        "Where does sharing",
        "What did it cost",
    ):
        assert words in page
    assert "**fast** is first: 0.5" in text
    assert text.count("n = 10 seeds in each of 4 settings") == 3  # of the ranking, by setting, of sharing
    assert "2 are equivalent to **kaiming\\_normal** or undecided" in text
    assert "<dt>equivalent to it or undecided</dt><dd>2</dd>" in page
    assert "| 7 | 7–7 | dead |" in text
    assert "| square | 3/4 | 3 faster | it needs a square matrix |" in text


def test_names_are_text_on_the_page(entries, grid):
    page = files_of([*entries[:2], made(grid, "<script>alert(1)", 1.0, seed=9)], grid)
    assert "<script>alert" not in page["index.html"]
    assert "&lt;script&gt;alert" in page["README.md"]


def test_what_an_entry_says_of_itself_is_text_in_markdown(entries, grid):
    """Versions and machines too: README.md is rendered by others than GitHub."""
    told = files.sealed(
        {**entries[1].content, "made": {**entries[1].content["made"], "machine": {"x": "<img src=x>[a](b)"}}}
    )
    text = files_of([entries[0], told], grid)["README.md"]
    assert "x &lt;img src=x&gt;\\[a\\](b)" in text
    assert "<img" not in text


def test_what_is_at_the_target_before_its_first_step_has_no_cost_and_is_told(entries, grid):
    """Its start is training that nobody counted: FLOPs near 0 would be a wrong number."""
    content = json.loads(entries[1].text)
    for row in content["results"]["none"][:2]:
        row |= {"init_flops": [0.0] * 10, "steps": {lr: [0] * 10 for lr in row["steps"]}}
    text = files_of([entries[0], files.sealed(content)], grid)["README.md"]
    row = next(line for line in text.splitlines() if line.startswith("| 1 |"))
    assert row.split(" | ")[-1] == "– |"
    assert "**At the target before the first step.**" in text
    assert "fast: 2 settings" in text


def test_an_undecided_word_says_why_where_seeds_would_not_help(grid):
    rarely = made(grid, "rarely", 0.1, seed=3, never=labels(grid)[:1])
    text = files_of([made(grid, "kaiming_normal", 1.0, seed=1), rarely], grid)["README.md"]
    assert "undecided (could be the best, arrivals say the opposite of steps)" in text


# ------------------------------------------------------------------------------------------------ training

OWN = """
def good(weight, *, generator, bound=float("inf")):
    return weight.normal_(0, 0.5, generator=generator).clamp_(-bound, bound)

def bad(weight):
    return weight.zero_()

def broken(weight):
    raise KeyError("no such thing")

def shape(weight):
    return weight[:1]
"""


@pytest.fixture
def tiny(folder, monkeypatch) -> Path:
    monkeypatch.syspath_prepend(str(folder))
    (folder / "my_board_init.py").write_text(OWN, encoding="utf-8")
    once = grid_of(folder, TINY)
    monkeypatch.setattr(grids, "read", lambda path: once)
    return folder


def test_add_good_bad_and_broken(tiny, capsys):
    assert called(tiny, "--add", "kaiming_normal") == 0
    assert called(tiny, "--add", "my_board_init.good") == 0
    out = capsys.readouterr().out
    assert "my_board_init.good: place" in out
    assert "95% interval" in out
    assert called(tiny, "--add", "my_board_init.bad") == 0
    out = capsys.readouterr().out
    assert "my_board_init.bad: place 3 of 3" in out
    assert "never arrived: 6 of 6 runs" in out
    for name, why in (("broken", "KeyError"), ("shape", "(1, 1)")):
        assert called(tiny, "--add", f"my_board_init.{name}") in (1, 2)
        line = capsys.readouterr().err.splitlines()[-1]
        assert why in line
        assert line.startswith("initbench: ")
        assert not (tiny / "entries" / f"my_board_init.{name}.json").exists()
    found = json.loads((tiny / "entries" / "my_board_init.good.json").read_text("utf-8"))
    assert found["source"] == {"my_board_init": OWN}
    assert called(tiny) == 0
    assert "my\\_board\\_init.bad" in (tiny / "README.md").read_text("utf-8")

    old = tiny / "entries" / "my_board_init.good.json"
    old.write_text(old.read_text("utf-8").replace('"format": 1', '"format": 0'), encoding="utf-8")
    assert called(tiny) == 2
    assert "make it again with python -m initbench.leaderboard --add" in capsys.readouterr().err
    assert called(tiny, "--add", "my_board_init.good") == 0  # what is made again need not fit
    assert "from other code" not in capsys.readouterr().err
    old.write_text(old.read_text("utf-8").replace("zero_()", "zero_() * 1"), encoding="utf-8")  # somebody else's
    assert called(tiny, "--add", "my_board_init.good") == 0
    assert f"{old}: made from other code until now, replaced" in capsys.readouterr().err

    assert called(tiny, "--check", "kaiming_normal") == 0
    assert "kaiming_normal: the same" in capsys.readouterr().out
    path = tiny / "entries" / "kaiming_normal.json"
    wrong = sealed(json.loads(path.read_text("utf-8")), "results", "none", 0, "loss", "0.1", 0, value=0.5)
    files.write(Entry(wrong), tiny / "entries")
    assert called(tiny, "--check", "kaiming_normal") == 1
    assert "DIFFERS: sharing=none, points, depth 2, relu: loss" in capsys.readouterr().out


def test_run_trains_what_is_missing_then_the_best_with_sharing(tiny, capsys, monkeypatch):
    monkeypatch.setattr(steps, "catalogue", lambda grid: ["kaiming_normal", "eye"])
    once = replace(grids.read(tiny / "settings.yaml"), best=1)
    monkeypatch.setattr(grids, "read", lambda path: once)
    assert called(tiny, "--run") == 0
    written = {path.name: path.read_bytes() for path in (tiny / "entries").iterdir()}
    assert sorted(written) == ["eye.json", "kaiming_normal.json"]
    assert "all" in json.loads(written["kaiming_normal.json"])["results"]  # the baseline always
    assert called(tiny, "--run") == 0
    assert {path.name: path.read_bytes() for path in (tiny / "entries").iterdir()} == written
    assert (tiny / "index.html").is_file()


def test_the_shipped_grid_is_a_full_design():
    """18 settings, five rates and ten seeds in each; every option of init is in it or left out with a reason."""
    from initbench.initializers.option_files import known

    shipped = grids.read(Path(__file__).parents[1] / "experiments" / "leaderboard" / "settings.yaml")
    found = {tuple(one.label.split(", ")) for one in shipped.settings}
    acts, depths = ("relu", "tanh", "gelu"), ("depth 3", "depth 10", "depth 30")
    assert found == {(data, depth, act) for data in ("digits", "mnist1d") for depth in depths for act in acts}
    assert {(len(one.lrs), len(one.seeds)) for one in shipped.settings} == {(5, 10)}
    assert set(steps.catalogue(shipped)) | set(shipped.left_out) == set(known())


def test_the_shipped_pages_are_what_the_shipped_entries_give():
    """Each entry fits its grid and every byte of both pages comes from the entries; every initializer that should be there is."""
    folder = Path(__file__).parents[1] / "experiments" / "leaderboard"
    shipped = grids.read(folder / "settings.yaml")
    found = steps.entries_of(folder, shipped)
    assert {one.name for one in found} == set(steps.catalogue(shipped))
    for name, text in files_of(found, shipped).items():
        assert (folder / name).read_text(encoding="utf-8") == text
