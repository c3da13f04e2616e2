"""The same commands give the same frames as ever: structure to the letter, values to the rounding of another machine."""

from __future__ import annotations

import json

import pytest

from golden_studies import KEPT, STUDIES, summary, trained


@pytest.mark.parametrize("name", STUDIES)
def test_a_golden_study_comes_out_as_before(name, tmp_path):
    expected = json.loads(KEPT.read_text("utf-8"))[name]
    found = json.loads(json.dumps(summary(*trained(name, tmp_path))))
    assert found["ends"] == expected["ends"]
    assert found["grid"] == expected["grid"]
    assert set(found["sums"]) == set(expected["sums"])
    assert found["sums"] == pytest.approx(expected["sums"], rel=2e-4, abs=1e-6)
