"""Kaplan-Meier: the share that has arrived by a step when some runs were watched for less long than others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Curve(NamedTuple):
    """A step function, right-continuous. Axes: (k distinct times of arrival,)."""

    steps: np.ndarray
    waiting: np.ndarray  # Kaplan-Meier estimate of P(T > step)
    error: np.ndarray  # Greenwood's standard error of it
    at_risk: np.ndarray  # watched and not yet arrived just before
    arrived: np.ndarray  # at this step


def kaplan_meier(steps: np.ndarray, arrived: np.ndarray) -> Curve:
    """``S(t) = prod_{t_i <= t} (1 - d_i / r_i)`` (Kaplan and Meier 1958), with Greenwood's standard error.

    `steps` (n,): time of arrival, or how long a run without one was watched; `arrived` (n,) which of the two. A run
    that can never arrive (it diverged) was watched for ever: infinity. With one budget for all and T = infinity for
    never, S is the share still waiting: 1 - ECDF.

    >>> kaplan_meier(np.array([1.0, 2.0, 2.0, 3.0]), np.array([True, True, False, True])).waiting.round(4).tolist()
    [0.75, 0.5, 0.0]
    """
    steps, arrived = np.asarray(steps, dtype=float), np.asarray(arrived, dtype=bool)
    times, d = np.unique(steps[arrived], return_counts=True)
    at_risk = (steps[None, :] >= times[:, None]).sum(axis=1)
    waiting = np.cumprod(1 - d / at_risk)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = d / (at_risk * (at_risk - d))  # infinite where all arrive: S = 0, its error is 0
        error = np.where(waiting > 0, waiting * np.sqrt(np.cumsum(terms)), 0.0)
    return Curve(times, waiting, error, at_risk, d)


def restricted_mean(curve: Curve, tau: float) -> tuple[float, float]:
    """Mean of min(T, tau) and its standard error: ``integral_0^tau S``, variance ``sum A_i^2 d_i / (r_i (r_i - d_i))``.

    A_i is the area under S from the i-th arrival to tau (Irwin 1949).

    >>> restricted_mean(kaplan_meier(np.array([10.0, 30.0]), np.array([True, True])), 20)[0]
    15.0
    """
    inside = curve.steps < tau
    edges = np.concatenate([[0.0], curve.steps[inside], [tau]])
    heights = np.concatenate([[1.0], curve.waiting[inside]])
    areas = np.diff(edges) * heights
    after = np.cumsum(areas[::-1])[::-1][1:]  # area from each arrival on
    d, r = curve.arrived[inside], curve.at_risk[inside]
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(after > 0, after**2 * d / (r * (r - d)), 0.0)
    return float(areas.sum()), float(np.sqrt(terms.sum()))
