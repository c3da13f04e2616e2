"""The files of a study as JSON Schema, from what reads them: `python -m initbench.store.schemas docs/schemas` writes them.

study.json is described from the keys that `study_file` checks. A frame is described by one of its rows.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from initbench.store import study_file as file
from initbench.store.reading import COMPLETE, NUMBERS, STATUSES, TEXT
from initbench.store.study_file import ARM, CAUTION, DECIDE, ENDS, LAYER, LOOK, LOOKED, ROUND, SCHEMA, STUDY, Key

Schema = dict[str, Any]

TEXT_OF: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer", "minimum": 0}
OBJECT: Schema = {"type": "object"}


def listed(items: Schema) -> Schema:
    return {"type": "array", "items": items}


KINDS: dict[Any, Schema] = {  # what a key is checked by -> the same as a schema
    file._text: TEXT_OF,
    file._flag: {"type": "boolean"},
    file._number: NUMBER,
    file._count: COUNT,
    file._counts: listed(COUNT),
    file._numbers: listed(NUMBER),
    file._texts: listed(TEXT_OF),
    file._object: OBJECT,
    file._objects: listed(OBJECT),
    file._moment: {"type": "string", "description": "ISO 8601"},
    file._digests: {
        "type": "object",
        "properties": dict.fromkeys(("runs.parquet", "history.parquet"), TEXT_OF),
        "additionalProperties": False,
    },
    file._asked: {
        "type": "object",
        "properties": {
            "formats": listed(TEXT_OF),
            "children": {"enum": ["headline", "full", "none"]},
            "goes_on": {"type": "boolean"},
        },
        "required": ["formats", "children", "goes_on"],
    },
    file._target: {
        "type": "object",
        "properties": {"metric": {"type": "string", "pattern": "^(accuracy|loss)/"}, "value": NUMBER},
        "required": ["metric", "value"],
    },
    file._verdict: {"enum": ["faster", "slower", "equivalent", "undecided"]},
    file._ended: {"enum": ["decided", "seeds", "minutes", "nothing would change"]},
    file._predictions: {"type": "object", "additionalProperties": listed({"type": ["number", "null"]})},
}


def of_keys(keys: Mapping[str, Key], inner: Mapping[str, Schema] | None = None) -> Schema:
    """An object with these keys; others are allowed. `inner`: what is known of a key beyond its own check."""
    properties = {}
    for name, key in keys.items():
        kind = {**KINDS[key.test], **(inner or {}).get(name, {})}
        properties[name] = {"anyOf": [kind, {"type": "null"}]} if key.null else kind
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name, key in keys.items() if key.required],
    }


def study() -> Schema:
    """Of study.json.

    >>> study()["required"]
    ['study', 'target', 'arms', 'created', 'schema']
    """
    arm = of_keys(ARM, {"status": {"enum": list(ENDS)}, "layers": listed(of_keys(LAYER))})
    inner = {
        "arms": listed(arm),
        "cautions": listed(of_keys(CAUTION)),
        "looked": listed(of_keys(LOOKED)),
        "looks": listed(of_keys(LOOK)),
        "decide": of_keys(DECIDE, {"rounds": listed(of_keys(ROUND))}),
    }
    found = of_keys(STUDY, inner)
    found["properties"] |= {
        "schema": {"const": SCHEMA, "description": "version of this file and of both frames"},
        file.WHOLE: {"type": "string", "description": "digest of all other keys"},
    }
    found["required"] += ["schema"]
    return titled("study.json", "What a study was asked for and what became of each arm.", found)


RUNS = {  # column -> what it is; a configuration's columns are named by its keys, a metric's by its name
    "run": "key of the run: arm, seed, learning rate",
    "arm": "label of its arm, as in study.json",
    "arm_key": "hash of all that the arm's numbers depend on",
    "setup": "initializer, sharing, parametrization",
    "setting": "data, model, optimizer, batch size, training: setups are compared inside one setting",
    "status": "failed: nothing is known of the run, and it counts as missing",
    "init.name": "option of the initializer",
    "sharing.name": "option of the sharing scheme",
    "seed": "of start, order of samples and noise: equal seeds are pairs",
    "optim.lr": "learning rate",
    "steps_to_target": "updates until the first evaluation at or past the target; null: never arrived",
    "diverged_at": "update at which the loss was no longer finite; null: it did not diverge",
    "steps": "updates that the run made",
    "train.steps": "updates of the budget",
    "flops_per_step": "floating point operations of one update",
    "init_flops": "floating point operations of the start",
    "flops_to_target": "floating point operations until the target, the start included; null: never arrived",
    "stored_parameters": "trained numbers that are stored",
    "used_parameters": "numbers that the layers use, tied ones counted at each use",
    "state_bytes": "bytes of the stored tensors and of the optimizer's state",
    "gap_at_target": "validation loss minus training loss at the target",
}


def runs() -> Schema:
    """Of a row of runs.parquet.

    >>> runs()["properties"]["status"]["enum"]
    ['completed', 'diverged', 'failed']
    """
    columns = dict.fromkeys([*RUNS, *NUMBERS])
    properties = {}
    for name in columns:
        kind: Schema = TEXT_OF if name in TEXT else NUMBER if name in COMPLETE else {"type": ["number", "null"]}
        properties[name] = {**kind, **({"description": RUNS[name]} if name in RUNS else {})}
    properties["status"]["enum"] = list(STATUSES)
    required = [*TEXT, *(name for name, there in NUMBERS.items() if there)]
    found = {"type": "object", "properties": properties, "required": required}
    words = "One row per run; further columns are configuration keys and last values of metrics."
    return titled("A row of runs.parquet", words, found)


def history() -> Schema:
    """Of a row of history.parquet.

    >>> list(history()["properties"])
    ['run', 'step', 'metric', 'layer', 'value']
    """
    properties = {
        "run": {**TEXT_OF, "description": "as in runs.parquet"},
        "step": {**COUNT, "description": "updates made before the measurement"},
        "metric": {**TEXT_OF, "description": "a loss, an accuracy or a measure (docs/measures.md)"},
        "layer": {"anyOf": [COUNT, {"type": "null"}], "description": "0-based; null: of the whole net"},
        "value": {
            "type": ["number", "null"],
            "description": "null: not a number, as from the step on at which a run diverged",
        },
    }
    found = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return titled("A row of history.parquet", "One row per run, step, metric and layer.", found)


def titled(title: str, words: str, schema: Schema) -> Schema:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, "description": words, **schema}


SCHEMAS = {"study": study, "runs": runs, "history": history}


def text(name: str) -> str:
    """The file of a schema."""
    return json.dumps(SCHEMAS[name](), indent=1) + "\n"


def main(argv: Sequence[str]) -> int:
    """Write all of them into a folder."""
    for name in SCHEMAS:
        (Path(*argv) / f"{name}.schema.json").write_text(text(name), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
