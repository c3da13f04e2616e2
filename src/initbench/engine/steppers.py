"""Optimizers that torch.optim lacks, as it would have them: for single modules, and as oracles of those of stacks."""

from __future__ import annotations

from typing import Any

import torch


class Lion(torch.optim.Optimizer):
    """p <- (1 - lr weight_decay) p - lr sign(beta1 m + (1 - beta1) g); m <- beta2 m + (1 - beta2) g.

    Source: Chen et al. 2023 (2302.06675); google/automl lion.
    """

    def __init__(
        self, params: Any, lr: float, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                m = self.state[p].setdefault("mean", torch.zeros_like(p))
                p *= 1 - group["lr"] * group["weight_decay"]
                p -= group["lr"] * torch.sign(beta1 * m + (1 - beta1) * p.grad)
                m.copy_(beta2 * m + (1 - beta2) * p.grad)


class MuonWithAdamW(torch.optim.Optimizer):
    """torch.optim.Muon on groups marked `muon`, which hold hidden matrices, and torch.optim.AdamW, at `rest_lr` times
    the rate, on the others: as Muon's authors use it.

    Source: KellerJordan/Muon, SingleDeviceMuonWithAuxAdam and its README (rates .02 and 3e-4, betas .9 and .95).
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-10,
        weight_decay: float = 0.0,
        rest_lr: float = 0.015,
    ) -> None:
        self.parts: dict[bool, torch.optim.Optimizer] = {}
        groups = list(params)
        groups = groups if isinstance(groups[0], dict) else [{"params": groups}]
        own = {"momentum": momentum, "betas": betas, "weight_decay": weight_decay, "rest_lr": rest_lr, "muon": False}
        super().__init__([rated(group, lr, eps, rest_lr) for group in groups], {"lr": lr, "eps": eps, **own})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """The parts hold the same groups and the same state as the whole."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        if group["muon"] in self.parts:
            self.parts[group["muon"]].add_param_group(group)
        else:
            self.parts[group["muon"]] = (torch.optim.Muon if group["muon"] else torch.optim.AdamW)([group])
            self.parts[group["muon"]].state = self.state

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for part in self.parts.values():
            part.step()


def rated(group: dict[str, Any], lr: float, eps: float, rest_lr: float) -> dict[str, Any]:
    """A group with the rate and the eps of the optimizer that steps it; Muon's eps is its own."""
    whole = group.get("lr", lr)
    return {**group, "lr": whole, "eps": 1e-7} if group.get("muon") else {**group, "lr": whole * rest_lr, "eps": eps}
