"""A study as a whole: the same command resumes, a wider one trains only what is new, a killed one ends in the same bytes."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

import initbench as ib
from initbench.__main__ import main
from initbench.overrides.read import completed

SMALL = ["seeds=2", "optim.lr=[0.1,0.3]", "train.steps=6", "engine.workers=1", "model.width=8", "model.depth=3"]
OFF = ["track.uri=null", "report.formats=[csv]"]


def frames(folder: Path) -> dict[str, str]:
    """SHA-256 of both frames of a study folder."""
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("runs.parquet", "history.parquet")
    }


def parts(root: Path = Path("outputs/store")) -> set[str]:
    return {path.name for path in root.glob("*/part-*.parquet")}


def test_the_same_command_again_trains_nothing(folder, capsys):
    command = ["init=eye,kaiming_normal", "sharing=none,all", *SMALL, *OFF, "study=s"]
    assert main(command) == 0
    before, first = parts(), frames(Path("outputs/s"))
    capsys.readouterr()
    assert main(command) == 0
    shown = capsys.readouterr()
    assert "4 arms, 16 runs, 16 already stored, 0 to train" in shown.err
    assert "training" not in shown.err
    assert (parts(), frames(Path("outputs/s"))) == (before, first)


def test_a_wider_sweep_under_another_name_trains_only_what_is_new(folder, capsys):
    assert main(["init=eye", "sharing=none", *SMALL, *OFF, "study=narrow"]) == 0
    before = parts()
    capsys.readouterr()
    wider = completed(["init=eye,zeros", "sharing=none", *SMALL, *OFF], fixed=["seeds=3"])
    assert main([*wider, "study=wide"]) == 0
    assert "12 runs, 4 already stored, 8 to train" in capsys.readouterr().err
    assert before < parts()
    apart = [o for o in wider if not o.startswith("outputs")]
    assert main([*apart, "study=wide", "outputs=fresh"]) == 0
    assert frames(Path("outputs/wide")) == frames(Path("fresh/wide"))


def test_rerun_trains_anew_and_gives_the_same_bytes(folder, capsys):
    command = ["init=kaiming_normal", "sharing=all", *SMALL, *OFF, "study=s"]
    assert main(command) == 0
    before, first = parts(), frames(Path("outputs/s"))
    capsys.readouterr()
    assert main([*command, "train.rerun=true"]) == 0
    assert "already stored" not in capsys.readouterr().err
    assert (parts(), frames(Path("outputs/s"))) == (before, first)


def test_editing_ones_own_initializer_trains_it_again(folder, capsys):
    file = Path("mine_here.py")
    source = "def start(weight, *, generator, std=0.1):\n    return weight.normal_(0, std, generator=generator)\n"
    command = ["init=mine_here.start", "sharing=none", *SMALL, *OFF, "study=s"]
    for text, stored in ((source, False), (source, True), (source + "# another line\n", False)):
        file.write_text(text)
        capsys.readouterr()
        assert main(command) == 0
        assert ("already stored" in capsys.readouterr().err) == stored
    sys.modules.pop("mine_here")


def test_another_target_needs_no_training(folder):
    command = ["init=kaiming_normal", "sharing=none", *SMALL, *OFF, "study=s"]
    easy = ib.run([*command, "train.target.metric=loss/train", "train.target.value=99"])
    before = parts()
    hard = ib.run([*command, "train.target.metric=loss/train", "train.target.value=0.0001"])
    assert parts() == before
    assert (easy.runs["steps_to_target"] == 0).all()
    assert hard.runs["steps_to_target"].isna().all()


def test_run_load_and_the_files_agree(folder):
    results = ib.run(["init=eye", "sharing=none", *SMALL, *OFF, "study=s"])
    loaded = ib.load("outputs/s")
    assert loaded.runs.equals(results.runs)
    assert loaded.history.astype({"run": str, "metric": str}).equals(
        results.history.astype({"run": str, "metric": str})
    )
    history = results.history
    losses = history[(history["metric"] == "loss/train") & history["layer"].isna()]
    assert sorted(losses["step"].unique()) == list(range(7))
    last = losses[losses["step"] == 6].set_index(losses[losses["step"] == 6]["run"].astype(str))["value"]
    assert (results.runs.set_index("run")["loss/train"] == last.reindex(results.runs["run"])).all()
    assert len(results.runs) == 4
    assert {"loss/val", "accuracy/train", "grad_norm", "weight_std"} <= set(history["metric"].cat.categories)


def test_a_store_that_was_damaged_is_trained_again(folder, capsys):
    command = ["init=eye", "sharing=none", *SMALL, *OFF, "study=s"]
    assert main(command) == 0
    first = frames(Path("outputs/s"))
    (part,) = Path("outputs/store").glob("*/part-*.parquet")
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(bytes(content))
    capsys.readouterr()
    assert main(command) == 0
    said = capsys.readouterr().err
    assert "already stored" not in said
    assert said.count(f"initbench: {part}: damaged (") == 1
    assert frames(Path("outputs/s")) == first
    for asked, file in ((command, __file__), ([*command, "train.dry_run=true"], None)):
        part.write_bytes(bytes(content))
        if file is None:
            ib.run(asked)
            assert f"initbench: {part}: damaged (" in capsys.readouterr().err
            continue
        with pytest.warns(UserWarning, match=f"{part.name}: damaged .*; set aside as .*, its runs are") as found:
            results = ib.run(asked)
        assert [one.filename for one in found if "damaged" in str(one.message)] == [file]
        assert len(results.runs) == 4
    assert frames(Path("outputs/s")) == first
