"""The group `sharing`: which layers use one stored weight, and which keys each scheme reads."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from initbench.config.checks import check_choice, check_number, check_whole, is_whole
from initbench.errors import refusal, shown

# the keys that each scheme reads, besides bias and reduce; a scheme of an installed package may read all
SHARING_KEYS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("none", "all", "pairs", "sandwich"), ()),
    **dict.fromkeys(("sequence", "cycle", "cycle_rev", "middle_cycle", "middle_sequence"), ("slots",)),
    **dict.fromkeys(("explicit", "transposed", "circulant", "tied_at_init"), ("groups",)),
    **dict.fromkeys(("permuted", "rotated", "input_injection"), ("groups",)),
    **dict.fromkeys(("low_rank_delta", "shared_basis"), ("rank", "groups")),
    "scaled": ("start", "groups"),
    "coefficients": ("slots", "groups"),
    **dict.fromkeys(("hashed", "hashed_global"), ("ratio", "groups")),
    "block_circulant": ("block", "groups"),
    "soft": ("strength", "groups"),
    **dict.fromkeys(("tie_then_untie", "untie_then_tie"), ("step", "groups")),
    "intrinsic": ("dimension", "projection"),
}
OWN_BIAS = (
    "transposed",
    "coefficients",
    "shared_basis",
    "hashed_global",
)  # schemes whose option file leaves the biases untied


@dataclass(frozen=True)
class SharingConfig:
    """Which layers use one stored weight. Every scheme has the same keys, so that they can be swept together."""

    name: str = "none"
    slots: int = (
        2  # stored weights of sequence, cycle, cycle_rev, between the ends of middle_*; templates of coefficients
    )
    groups: list[Any] | None = None  # layer groups by hand, e.g. [[1,2],[3,4]]
    rank: int = 4  # of each layer's own part in low_rank_delta, of the common basis in shared_basis
    ratio: float = 0.125  # stored numbers a weight in hashed and hashed_global
    block: int = 8  # side of the blocks of block_circulant
    strength: float = 0.001  # lambda of soft
    step: int = 100  # updates before tie_then_untie unties, untie_then_tie ties
    dimension: int = 100  # trained numbers of intrinsic
    projection: str = "dense"  # of intrinsic: dense | sparse
    start: str = "signs"  # of the scales of scaled: signs | normal | ones
    bias: str = "tied"
    reduce: str = "sum"
    # also train untied nets of the same FLOPs and of as many stored numbers (true) or as many stored weights (weights)
    controls: Any = False

    def __post_init__(self) -> None:
        for key in ("slots", "rank", "block", "step", "dimension"):
            check_whole(f"sharing.{key}", getattr(self, key), low=1)
        check_number("sharing.ratio", self.ratio, above=0.0, low=None)
        if self.ratio > 1:
            raise refusal(
                f"sharing.ratio={self.ratio}", "not allowed", "must be a number above 0 and at most 1, e.g. 0.125"
            )
        check_number("sharing.strength", self.strength, low=0.0)
        check_choice("sharing.start", self.start, ("signs", "normal", "ones"))
        check_choice("sharing.projection", self.projection, ("dense", "sparse"))
        check_choice("sharing.bias", self.bias, ("tied", "untied", "only"))
        check_choice("sharing.reduce", self.reduce, ("sum", "mean"))
        if not isinstance(self.controls, bool) and self.controls != "weights":
            raise refusal(f"sharing.controls={shown(self.controls)}", "unknown", "must be one of: true, false, weights")
        if self.groups is not None:
            for group in self.groups:
                if not isinstance(group, (list, tuple)) or not all(is_whole(i) and i >= 0 for i in group):
                    raise refusal(
                        f"sharing.groups={shown(self.groups)}",
                        "not allowed",
                        "must be a list of lists of layer numbers, e.g. [[1,2],[3,4]]",
                    )
            flat = [layer for group in self.groups for layer in group]
            if len(flat) != len(set(flat)):
                raise refusal(
                    f"sharing.groups={shown(self.groups)}",
                    "a layer is named twice",
                    "put each layer into one group only",
                )

    def relevant(self) -> dict[str, Any]:
        """The keys that can change a number of this scheme: `none` reads none, so `sharing.slots=3` is no other arm.

        >>> SharingConfig("none", slots=3).relevant(), SharingConfig("soft", bias="untied").relevant()
        ({'name': 'none'}, {'name': 'soft', 'strength': 0.001, 'groups': None, 'bias': 'untied', 'reduce': 'sum'})
        """
        if self.name == "none":
            return {"name": "none"}
        every = [name for name in asdict(self) if name not in ("name", "bias", "reduce", "controls")]
        keys = ("name", *SHARING_KEYS.get(self.name, every), "bias", "reduce")
        return {key: getattr(self, key) for key in keys}
