"""catalogue.md on the site: each initializer is a section that the search finds, with a picture of what it draws."""

from __future__ import annotations

import io
import re
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from drawn import bars, picture, text
from matplotlib import image
from mkdocs.structure.files import File, Files
from torch import nn

import initbench as ib
from initbench import catalogue
from initbench.errors import InputError, NotApplicable
from initbench.initializers import REGISTRY

WIDTH = 32  # units of the layer that is drawn, between two hidden layers
NOT_DRAWN = ("dirac", "literal")  # for convolutions; from a file
TABLE = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)


class Look(NamedTuple):
    """What an initializer draws: the matrix as a picture, and its entries as a histogram."""

    png: bytes
    histogram: str


@cache
def weight_of(name: str, option: str) -> np.ndarray:
    """The (fan_out, fan_in) weight of a layer between two hidden layers, by seed 0: of the layer alone where the initializer
    fills single matrices, else of a net; of a tanh net where it is not for ReLU."""
    for activation in ("relu", "tanh"):
        try:
            return of_layer(option, activation) if REGISTRY[name].needs == "nothing" else of_net(option, activation)
        except InputError:
            return of_net(option, activation)
        except NotApplicable:
            continue
    raise NotApplicable(f"{name} has no picture")


def of_layer(option: str, activation: str) -> np.ndarray:
    net = nn.Sequential(nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10))
    ib.initialize_(net, {"2": option}, torch.Generator().manual_seed(0), activation=activation)
    return net[2].weight.detach().numpy()


def of_net(option: str, activation: str) -> np.ndarray:
    net = ib.build(
        [f"init={option}", "sharing=none", "model.depth=3", f"model.width={WIDTH}", f"model.activation={activation}"]
    )
    return next(w for w in net.state_dict().values() if w.shape == (WIDTH, WIDTH)).numpy()


@cache
def look(name: str, option: str) -> Look:
    weight = weight_of(name, option)
    most = float(np.abs(weight).max()) or 1.0
    file = io.BytesIO()
    image.imsave(file, weight, cmap="RdBu_r", vmin=-most, vmax=most)
    counts, _ = np.histogram(weight, bins=31, range=(-most, most))
    says = f"mean {weight.mean():.3f}, std {weight.std():.3f}, {np.mean(weight == 0):.0%} zeros"
    parts = [*bars(counts.tolist(), 200, 60)]
    parts += [text(0, 76, f"{-most:.2g}"), text(100, 76, "0", "middle"), text(200, 76, f"{most:.2g}", "end")]
    return Look(file.getvalue(), picture(200, 96, [*parts, text(0, 92, says)], f"histogram of {name}: {says}"))


def option_of(row: dict[str, str]) -> str:
    options = row["options"].split(", ")
    return row["name"] if row["name"] in options else options[0] or row["name"]


@cache
def looks() -> dict[str, Look]:
    return {row["name"]: look(row["name"], option_of(row)) for row in catalogue.rows() if row["name"] not in NOT_DRAWN}


def section(row: dict[str, str]) -> str:
    name, drawn = row["name"], looks().get(row["name"])
    pictures = ""
    if drawn is not None:
        pictures = (
            f'\n<div class="look"><img src="weights/{name}.png" alt="entries of a {WIDTH} x {WIDTH} weight: blue negative, '
            f'white 0, red positive" loading="lazy">{drawn.histogram}</div>\n'
        )
    said = {key: row[key].replace("|", "\\|").replace("*", "\\*").replace("_", "\\_") for key in ("formula", "source")}
    lines = [
        f"### {name}\n",
        f"**{said['formula']}**\n",
        f"For: {row['meant for']}.\n",
        pictures,
        f"- Source: {said['source']}",
        f"- Contract: {row['contract']}",
        f"- Options: {', '.join(f'`init={one}`' for one in row['options'].split(', ') if one) or 'none; name the function'}",
    ]
    return "\n".join(lines)


def on_files(files: Files, config: Any) -> Files:
    for name, drawn in looks().items():
        files.append(File.generated(config, f"weights/{name}.png", content=drawn.png))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    if page.file.src_uri != "catalogue.md":
        return markdown
    pictures = (
        f"Each picture is one draw, by seed 0, of the {WIDTH} x {WIDTH} weight between two hidden layers: blue is negative, white "
        "0, red positive; beside it how often which value occurs."
    )
    sections = "\n\n".join([pictures, *map(section, catalogue.rows())])
    return TABLE.sub(lambda _: sections + "\n\n", markdown, count=1)
