"""What sharing one weight between all hidden layers changes: each initializer with and without it, and whose order turns round."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import combinations

import numpy as np
import pandas as pd

from initbench.leaderboard.board import Board
from initbench.leaderboard.judged import contrast
from initbench.leaderboard.standing import Standing
from initbench.stats import verdict


class Shared:
    """The boards of the same entries without and with sharing, of the initializers that are ranked on both."""

    def __init__(self, alone: Board, together: Board) -> None:
        self.alone, self.together = alone, together
        self.names = [name for name in alone.order if name in together.ranked]

    @cached_property
    def joint(self) -> Standing:
        """Both in one: `(name)` without sharing, `name *` with it; the draws are the same."""
        rows = [self.alone.standing.names.index(name) for name in self.names]
        shared = [self.together.standing.names.index(name) for name in self.names]

        def both(field: str) -> np.ndarray:
            return np.concatenate(
                [getattr(self.alone.standing, field)[rows], getattr(self.together.standing, field)[shared]]
            )

        names = [*self.names, *(f"{name} *" for name in self.names)]
        fields = (both(field) for field in ("theta", "draws", "reached", "shares"))
        return Standing(names, self.alone.standing.settings, *fields)

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row an initializer: steps alone, steps shared, their ratio with its interval, the word, and both ranks among these."""
        joint, k = self.joint, len(self.names)
        contrasts = [contrast(joint, f"{name} *", name) for name in self.names]
        sides = [verdict.Side(joint.share(f"{name} *"), "") for name in self.names]
        found = verdict.verdicts(contrasts, sides, [verdict.Side(joint.share(name), "") for name in self.names])
        steps = np.exp(joint.score)
        rows = []
        for i, (name, one, said) in enumerate(zip(self.names, contrasts, found)):
            ratio, low, high = np.exp([one.estimate, *one.interval()])
            own, other = 1 + int((steps[:k] < steps[i]).sum()), 1 + int((steps[k:] < steps[k + i]).sum())
            rows.append(
                [name, steps[i], steps[k + i], ratio, low, high, said.word, own, other, joint.share(f"{name} *")]
            )
        columns = ["name", "alone", "shared", "ratio", "low", "high", "verdict", "rank", "rank_shared", "share_shared"]
        return pd.DataFrame(rows, columns=columns)

    @cached_property
    def turned(self) -> list[tuple[str, str]]:
        """(the one that is faster alone, the one that is faster shared): both orders hold after Holm over all pairs."""
        pairs = list(combinations(self.names, 2))
        alone = [contrast(self.joint, a, b) for a, b in pairs]
        shared = [contrast(self.joint, f"{a} *", f"{b} *") for a, b in pairs]
        sure = verdict.holm([one.p_ratio for one in (*alone, *shared)]) < verdict.ALPHA if pairs else np.zeros(0, bool)
        out = []
        for i, (a, b) in enumerate(pairs):
            x, y = alone[i].estimate, shared[i].estimate
            if x * y < 0 and sure[i] and sure[len(pairs) + i]:
                out.append((a, b) if x < 0 else (b, a))
        return out

    @property
    def crossed(self) -> int:
        """Pairs in another order with sharing than without, sure or not."""
        k, score = len(self.names), self.joint.score
        return sum((score[i] - score[j]) * (score[k + i] - score[k + j]) < 0 for i, j in combinations(range(k), 2))


def shared_of(alone: Board, entries: Sequence, least: int = 2) -> Shared | None:
    """What sharing changes, where enough entries were trained with it."""
    together = Board(alone.grid, [one for one in entries if one.results("all")], "all")
    if not together.entries:
        return None
    found = Shared(alone, together)
    return found if len(found.names) >= least else None
