"""What a person reads in MLflow: notes in Markdown, the saved chart view."""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import pandas as pd

from initbench.errors import printable

VIEW = "initbench"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
# characters; MLflow refuses more than 5,000 in an experiment's tag (older servers), 8,000 in a run's
NOTE_LIMIT = 4500
COMMAND_LIMIT = 600  # of them: a sweep of hundreds of values leaves room for the leaderboard; study.json has it whole


def arm_note(info: Mapping[str, Any], lrs: pd.DataFrame, study: Mapping[str, Any]) -> str:
    """The summary on the page of an arm: every learning rate with its n."""
    lines = [f"**{_cell(info.get('setup', info['label']))}** in {_cell(info.get('setting', ''))}", ""]
    if info.get("reason"):
        lines += [f"{info.get('status', 'failed')}: {_cell(info['reason'])}", ""]
    if len(lrs):
        lines += [
            f"Target: {_target(study)}. The chosen learning rate is bold; the curves are its seeds.",
            "",
        ]
        lines += [
            "| lr | n | reached | median steps | last train loss | diverged | failed |",
            "|" + "---|" * 7,
        ]
        for at in lrs.to_dict("records"):
            loss = number(at["loss_train"])
            cells = [f"{at['lr']:g}", at["n"], at["reached"], steps(at["steps"]), loss]
            cells += [at["diverged"], at["failed"]]
            lines.append("| " + " | ".join(f"**{c}**" if at["chosen"] else str(c) for c in cells) + " |")
        lines += [
            "",
            "Curves are medians over seeds. A diverged run counts as the worst value; a curve ends where its median has "
            "diverged.",
        ]
    return _cut("\n".join(lines))


def study_note(study: Mapping[str, Any], arms: Iterable[Any]) -> str:
    """The description of the experiment: command, target, leaderboard. `arms`: parent records, best first."""
    command = printable(study.get("command", ""))
    lines = [
        f"`{command if len(command) <= COMMAND_LIMIT else command[:COMMAND_LIMIT] + '…'}`",
        "",
        f"Target: {_target(study)}. One run an arm, best first (below it its single runs); the run `report` "
        "holds the report and the data.",
        "",
        "| # | arm | lr | n | reached | median steps | last train loss |",
        "|" + "---|" * 7,
    ]
    for arm in arms:
        value = values(arm)
        if "n" not in value:
            lines.append(f"| | {_cell(arm.name)} | | | | {_cell(arm.own_tags['initbench.status'])} | |")
            continue
        reached = round(value["share_reached"] * value["n"])
        median = steps(value.get("steps_to_target_median", math.inf))
        lr = f"{value['lr_chosen']:g}" if "lr_chosen" in value else ""
        loss = number(value.get("loss_train", math.inf))
        row = [f"{value['rank']:g}", _cell(arm.name), lr, f"{value['n']:g}", str(reached), median, loss]
        lines.append(f"| {' | '.join(row)} |")
    return _cut("\n".join(lines))


def values(arm: Any) -> dict[str, float]:
    """The last value of each metric of a record."""
    return dict(zip(arm.points.key, arm.points.value))


def by_rank(arms: Iterable[Any]) -> list[Any]:
    """Records in the order of the leaderboard: setting by setting as in the study, in each the latest first."""
    listed, of = list(arms), "initbench.setting"
    settings = {name: i for i, name in enumerate(dict.fromkeys(arm.own_tags[of] for arm in listed))}
    return sorted(listed, key=lambda arm: (settings[arm.own_tags[of]], -arm.start))


def report_note(markdown: str) -> str:
    """The beginning of report.md, without its pictures."""
    lines = [line for line in markdown.splitlines() if not line.lstrip().startswith("![")]
    return _cut("\n".join(lines), "The whole report is under Artifacts: report.html, report.md.")


def _cut(text: str, rest: str = "…") -> str:
    if len(text) <= NOTE_LIMIT:
        return text
    return text[:NOTE_LIMIT].rsplit("\n", 1)[0] + f"\n\n{rest}"


def _cell(text: Any) -> str:
    return printable(" ".join(str(text).split())).replace("|", "\\|")


def _target(study: Mapping[str, Any]) -> str:
    target = study.get("target")
    return f"{target['metric']} {target['value']:g}" if target else "none"


def steps(value: float) -> str:
    """
    >>> steps(35.0), steps(math.inf)
    ('35', 'never')
    """
    return f"{value:g}" if math.isfinite(value) else "never"


def number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "diverged"


# --- the saved view ------------------------------------------------------------


def view(names: Iterable[str], created: int, wide: Collection[str] = ()) -> str:
    """The value of the experiment's tag VIEW_TAG: charts of an arm's speed and curves first, the quantiles
    folded. `wide`: metrics whose values span decades, drawn on a log axis.

    What MLflow's page itself stores: JSON {name, createdAt, updatedAt, state}, state = "deflate;" +
    base64(zlib(JSON)). A chart of a name that no section mentions is added by the page itself, at the end.
    """
    names = set(names)
    sections, charts = [], []
    for title, wanted in _SECTIONS.items():
        shown = [chart for chart in wanted if chart[1] in names]
        if not shown:
            continue
        sections.append(_section(title, True))
        charts += [_chart(title, *chart, log=chart[1] in wide) for chart in shown]
    for quantity, title in TITLES.items():
        if ends := [name for name in sorted(names) if name.rpartition("/")[0] == quantity and name.endswith("_layer")]:
            sections.append(_section(title, True))
            charts += [
                _chart(title, "LINE", one, f"{title}, {one.rpartition('/')[2].replace('_', ' ')}", one in wide)
                for one in ends
            ]
    mentioned = {chart["metricKey"] for chart in charts}
    left = sorted({n.rpartition("/")[0] for n in names if n not in mentioned})
    folded = [s for s in left if s and (s.partition("/")[0].endswith(("_p10", "_p90")) or s.startswith("lr_"))]
    sections += [_section(s, False) for s in [*(s for s in left if s and s not in folded), *folded]]
    sections.append(_section("Model metrics", False))  # the page's name for what has no prefix
    state = {
        "compareRunCharts": charts, "compareRunSections": sections, "isAccordionReordered": True,
        "selectedColumns": _COLUMNS,
        "runsHiddenMode": "FIRST_20_RUNS", "hideEmptyCharts": True, "autoRefreshEnabled": False,
    }  # fmt: skip
    packed = base64.b64encode(zlib.compress(json.dumps(state, separators=(",", ":")).encode(), 9)).decode()
    envelope = {"name": VIEW, "createdAt": created, "updatedAt": created, "state": f"deflate;{packed}"}
    return json.dumps(envelope, separators=(",", ":"))


TITLES = {  # of the measures of layers that arms show
    "weight_norm": "weight norm", "grad_norm": "gradient norm", "update_ratio": "update / weight",
    "activation_msq": "mean square activation", "dead_fraction": "dead units",
    "use_grad_alignment": "agreement of uses",
}  # fmt: skip
_SECTIONS: dict[str, list[tuple[str, str]]] = {  # section of the view -> kind and metric of its charts
    "How fast": [
        ("LINE", "trained_share"),
        ("BAR", "steps_to_target_median"),
        ("BAR", "share_reached"),
        ("BAR", "flops_to_target_median"),
    ],
    "Losses and accuracies": [
        ("LINE", "loss/train"),
        ("LINE", "loss/val"),
        ("LINE", "accuracy/train"),
        ("LINE", "accuracy/val"),
    ],
}
_COLUMNS = [  # of the table of runs, few: MLflow puts metrics first, by their names
    "metrics.`n`",
    "metrics.`rank`",
    "metrics.`share_reached`",
    "metrics.`steps_to_target_median`",
    "params.`lr_chosen`",
    "tags.`initbench.verdict`",
]


def _section(name: str, shown: bool) -> dict[str, Any]:
    return {"uuid": f"ib-{name}", "name": name, "display": shown, "isReordered": False, "deleted": False,
            "isGenerated": True}  # fmt: skip


def _chart(section: str, kind: str, metric: str, title: str = "", log: bool = False) -> dict[str, Any]:
    chart: dict[str, Any] = {
        "uuid": f"ib-{metric}", "type": kind, "metricKey": metric, "metricSectionId": f"ib-{section}",
        "runsCountToCompare": 20, "deleted": False, "isGenerated": False,
    }  # fmt: skip
    if title:
        chart["displayName"] = title
    if kind == "LINE":
        chart |= {
            "lineSmoothness": 0, "xAxisScaleType": "linear", "scaleType": "log" if log else "linear", "xAxisKey": "step",
            "selectedXAxisMetricKey": "", "range": {}, "yAxisKey": "metric", "yAxisExpressions": [],
            "ignoreOutliers": False, "useGlobalXaxisKey": True, "useGlobalLineSmoothing": True,
        }  # fmt: skip
    return chart
