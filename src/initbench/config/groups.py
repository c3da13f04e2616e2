"""The groups of the configuration: frozen dataclasses and their checks, which are also the schema Hydra composes against.

So a key or a type is written down once. Fields that are "a number or a list" are `Any` (OmegaConf has no such union) and
are parsed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from initbench.config.activations import ACTIVATIONS
from initbench.config.checks import check_choice, check_number, check_target, check_whole
from initbench.config.optimizers import AUTO, OPTIMIZERS, usual_rates
from initbench.config.sharing import OWN_BIAS as OWN_BIAS
from initbench.config.sharing import SHARING_KEYS as SHARING_KEYS
from initbench.config.sharing import SharingConfig as SharingConfig
from initbench.errors import refusal, shown

PARAMETRIZATIONS = ("standard", "ntk", "mup", "spectral", "depth_mup")
RESIDUALS = ("none", "plain", "inv_sqrt2", "inv_sqrt_depth", "inv_depth", "looped", "indegree", "skipinit", "rezero", "zero_gamma", "fixup")  # fmt: skip
# keys that some optimizers read, each with the key of theirs that says so
OWN_KEYS = {**{key: key for key in ("momentum", "betas", "alpha", "eps", "rest_lr")}, "momentum_rise": "momentum"}
LOSSES = ("auto", "cross_entropy", "squared_error", "sigmoid_cross_entropy", "sigmoid_squared_error")
OF_CLASSES = ("cross_entropy", "sigmoid_cross_entropy", "sigmoid_squared_error")  # losses of data with classes


@dataclass(frozen=True)
class LayerSpec:
    """One layer of the net: its place, its fans and the net's hidden activation.

    `index` is 0-based, output layer included; `depth` counts the hidden layers, so there are depth + 1 layers.

    >>> LayerSpec(index=0, depth=2, fan_in=64, fan_out=32, activation="relu").first
    True
    """

    index: int
    depth: int
    fan_in: int
    fan_out: int
    activation: str = "relu"
    first: bool = False
    last: bool = False
    bias: bool = True  # whether it has one

    def __post_init__(self) -> None:
        object.__setattr__(self, "first", self.index == 0)
        object.__setattr__(self, "last", self.index == self.depth)

    @property
    def shape(self) -> tuple[int, int]:
        """`(fan_out, fan_in)` of the weight."""
        return (self.fan_out, self.fan_in)

    def called(self, place: str | int) -> bool:
        """Whether this is the layer, or one of those, of a place: 2, -1 (the last), first, hidden or last."""
        if isinstance(place, int):
            return self.index == (place if place >= 0 else self.depth + 1 + place)
        return {"first": self.first, "last": self.last, "hidden": not (self.first or self.last)}[place]


# ------------------------------------------------------------------------------------------------ the groups


@dataclass(frozen=True)
class ModelConfig:
    """What is trained: `depth` hidden layers of `width` units."""

    name: str = "mlp"
    depth: int = 6
    width: Any = 32  # number or list of `depth` numbers
    activation: str = "relu"
    bias: bool = True
    dtype: str = "float32"
    parametrization: str = "standard"
    base_width: int = 32  # the width at which mup is the standard parametrization
    base_depth: int = 6  # the depth at which depth_mup is mup
    residual: str | None = None  # rule of the residual MLP
    residual_scale: float = 1.0  # lambda of residual=looped
    branch: int = 2  # layers of a residual branch
    target: str | None = None  # module: dotted path of a class or function that makes an nn.Module
    args: dict[str, Any] = field(default_factory=dict)  # its arguments

    def __post_init__(self) -> None:
        check_choice("model", self.name, ("mlp", "residual_mlp", "module"))
        if (self.name == "module") != (self.target is not None):
            if self.name == "module":
                do = "add model.target=my_module.MyNet, a class or function that makes an nn.Module"
                raise refusal("model=module", "it needs model.target", do)
            raise refusal(
                f"model.target={shown(self.target)}", f"model={self.name} does not use it", "choose model=module"
            )
        check_whole("model.depth", self.depth, low=1)
        widths = self.width if isinstance(self.width, (list, tuple)) else [self.width]
        for width in widths:
            check_whole("model.width", width, low=1, note=" or a list of them, one per hidden layer")
        if isinstance(self.width, (list, tuple)) and len(widths) != self.depth:
            raise refusal(
                f"model.width={shown(list(widths))}",
                f"{len(widths)} widths for model.depth={self.depth}",
                f"set model.depth={len(widths)}",
            )
        check_choice("model.activation", self.activation, tuple(ACTIVATIONS))
        check_choice("model.dtype", self.dtype, ("float32", "float64"))
        check_choice("model.parametrization", self.parametrization, PARAMETRIZATIONS)
        check_whole("model.base_width", self.base_width, low=1)
        check_whole("model.base_depth", self.base_depth, low=1)
        check_number("model.residual_scale", self.residual_scale, above=0.0)
        self._check_residual(widths)

    def _check_residual(self, widths: Sequence[int]) -> None:
        check_whole("model.branch", self.branch, low=1)
        if self.name != "residual_mlp":
            if self.residual is not None:
                raise refusal(
                    f"model.residual={shown(self.residual)}",
                    f"model={self.name} does not use it",
                    "choose model=residual_mlp",
                )
            return
        check_choice("model.residual", self.residual, RESIDUALS)
        if len(set(widths)) > 1:
            raise refusal(
                f"model.width={shown(list(widths))}",
                "the skip connections of residual_mlp need equal widths",
                "write one number, e.g. model.width=32",
            )
        between = self.depth - 1
        if between < self.branch or between % self.branch:
            low = max(1, between // self.branch)
            fitting = dict.fromkeys(count * self.branch + 1 for count in (low, low + 1))
            raise refusal(
                f"model.depth={self.depth}",
                f"{between} hidden-to-hidden layers do not make whole branches of model.branch={self.branch}",
                f"set e.g. model.depth={' or '.join(map(str, fitting))}",
            )

    def relevant(self) -> dict[str, Any]:
        """The keys that can change a number of this model.

        >>> "base_width" in ModelConfig().relevant(), "branch" in ModelConfig().relevant()
        (False, False)
        """
        left_out = {"base_width"} if self.parametrization not in ("mup", "depth_mup") else set()
        left_out |= {"base_depth"} if self.parametrization != "depth_mup" else set()
        left_out |= {"residual_scale"} if self.residual != "looped" else set()
        left_out |= {"residual", "branch"} if self.residual is None else set()
        left_out |= {"target", "args"} if self.target is None else {"depth", "width", "bias"}
        return {key: value for key, value in asdict(self).items() if key not in left_out}

    @property
    def widths(self) -> tuple[int, ...]:
        """Width of each hidden layer."""
        return tuple(self.width) if isinstance(self.width, (list, tuple)) else (self.width,) * self.depth

    def layers(self, inputs: int, outputs: int) -> tuple[LayerSpec, ...]:
        """The depth + 1 layers of the net between `inputs` features and `outputs` units.

        >>> [layer.shape for layer in ModelConfig(depth=2, width=5).layers(3, 1)]
        [(5, 3), (5, 5), (1, 5)]
        """
        if self.name == "module":
            raise refusal(
                f"model.target={self.target}",
                "a module's layers are seen only in its forward pass",
                "choose model=mlp or model=residual_mlp",
            )
        sizes = (inputs, *self.widths, outputs)
        each = range(self.depth + 1)
        return tuple(LayerSpec(i, self.depth, sizes[i], sizes[i + 1], self.activation, bias=self.bias) for i in each)


@dataclass(frozen=True)
class InitConfig:
    """One initializer with its arguments, and the rule for biases."""

    name: str
    target: str
    bias: Any = "zeros"
    args: Mapping[str, Any] = field(default_factory=dict)
    changed: Mapping[str, Any] = field(default_factory=dict)  # what differs from the option's file, for the label
    relative: float = 1.0  # the first layer times this, the last over it

    def __post_init__(self) -> None:
        check_number("init.relative", self.relative, above=0.0)
        object.__setattr__(self, "relative", float(self.relative))  # 2 and 2.0 make one arm


@dataclass(frozen=True)
class OptimConfig:
    """Optimizer of torch.optim, learning rates and batches. Keys that an optimizer lacks are null in its option."""

    name: str = "sgd"
    lr: Any = field(default_factory=lambda: [0.01, 0.03, 0.1, 0.3, 1.0])  # number, list or auto
    batch_size: int | None = 64  # null = full batch
    weight_decay: float = 0.0
    momentum: float | None = None
    betas: list[float] | None = None
    alpha: float | None = None
    eps: float | None = None
    momentum_rise: int | None = None  # updates from one rise of the momentum to the next; null: constant
    rest_lr: float | None = None  # learning rate of what muon leaves to AdamW, over lr
    schedule: str = "constant"
    warmup: int = 0  # steps of linear warm-up
    clip: float | None = None  # largest norm of the whole gradient of a run

    def __post_init__(self) -> None:
        check_choice("optim", self.name, tuple(OPTIMIZERS))
        for key, needed in OWN_KEYS.items():
            if getattr(self, key) is not None and needed not in OPTIMIZERS[self.name].keys:
                having = ", ".join(name for name, one in OPTIMIZERS.items() if needed in one.keys)
                raise refusal(
                    f"optim.{key}={shown(getattr(self, key))}",
                    f"optim={self.name} does not use it",
                    f"choose one of optim={having}",
                )
        rates = self.lrs if self.auto else self.lr if isinstance(self.lr, (list, tuple)) else [self.lr]
        if not rates:
            raise refusal("optim.lr=[]", "at least one learning rate is needed", "write e.g. optim.lr=0.1")
        for rate in rates:
            check_number("optim.lr", rate, above=0.0, note=" or a list of them, e.g. 'optim.lr=[0.01,0.1]', or auto")
        if len({float(rate) for rate in rates}) != len(rates):
            raise refusal(
                f"optim.lr={shown(list(rates))}", "a learning rate is repeated", "list each learning rate only once"
            )
        if self.batch_size is not None:
            check_whole("optim.batch_size", self.batch_size, low=1, note=" or null for the full batch")
        check_number("optim.weight_decay", self.weight_decay, low=0.0)
        for key in ("momentum", "alpha"):
            if getattr(self, key) is not None:
                check_number(f"optim.{key}", getattr(self, key), low=0.0, below=1.0)
        if self.eps is not None:
            check_number("optim.eps", self.eps, low=0.0)
        if self.momentum_rise is not None:
            check_whole("optim.momentum_rise", self.momentum_rise, low=1, note=" or null for a constant momentum")
        if self.rest_lr is not None:
            check_number("optim.rest_lr", self.rest_lr, above=0.0)
        if self.betas is not None:
            if len(self.betas) != 2:
                raise refusal(
                    f"optim.betas={shown(self.betas)}",
                    "not allowed",
                    "must be two numbers of at least 0 and below 1, e.g. [0.9,0.999]",
                )
            for beta in self.betas:
                check_number("optim.betas", beta, low=0.0, below=1.0)
        check_choice("optim.schedule", self.schedule, ("constant", "cosine", "step"))
        check_whole("optim.warmup", self.warmup, low=0)
        if self.clip is not None:
            check_number("optim.clip", self.clip, above=0.0)

    @property
    def auto(self) -> bool:
        """Whether the rates are found while the study runs (study/decide.py): they start from the optimizer's usual ones."""
        return isinstance(self.lr, str) and self.lr == AUTO

    @property
    def lrs(self) -> tuple[float, ...]:
        """The learning rates, ascending."""
        if self.auto:
            return usual_rates(self.name)
        return tuple(sorted(float(x) for x in (self.lr if isinstance(self.lr, (list, tuple)) else [self.lr])))


@dataclass(frozen=True)
class Target:
    """The level that counts as trained. auto: train accuracy .95, or .05 of the targets' variance for regression."""

    metric: str = "auto"
    value: float | None = None

    def __post_init__(self) -> None:
        known = ("auto", "accuracy/train", "accuracy/val", "loss/train", "loss/val")
        check_choice("train.target.metric", self.metric, known)
        if self.value is not None:
            check_target("train.target.value", self.metric, self.value)

    def met(self, values: Any) -> Any:
        """Whether values are at or past a resolved target: at or above an accuracy, at or below a loss.

        >>> Target("accuracy/train", 0.95).met(0.96), Target("loss/val", 0.1).met(0.2)
        (True, False)
        """
        return values >= self.value if self.metric.startswith("accuracy") else values <= self.value


@dataclass(frozen=True)
class EvaluateConfig:
    """When losses and accuracies are taken: every step up to `dense`, then steps that grow by `ratio`."""

    dense: int = 20
    ratio: float = 1.05

    def __post_init__(self) -> None:
        check_whole("train.evaluate.dense", self.dense, low=0)
        check_number("train.evaluate.ratio", self.ratio, above=1.0)


@dataclass(frozen=True)
class TrainConfig:
    """How long, judged by what, evaluated when."""

    steps: int = 300
    loss: str = "auto"
    target: Target | None = field(default_factory=Target)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    eval_samples: int = 512
    stop_when_reached: bool = False
    rerun: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        if self.stop_when_reached and self.target is None:
            raise refusal(
                "train.stop_when_reached=true",
                "train.target=null sets no target",
                "set a target, or leave one of the two out",
            )
        check_whole("train.steps", self.steps, low=0)
        check_choice("train.loss", self.loss, LOSSES)
        check_whole("train.eval_samples", self.eval_samples, low=1)


@dataclass(frozen=True)
class MeasureConfig:
    """Which quantities are taken inside the net, and at which steps."""

    name: str = "light"
    metrics: list[str] | None = None  # null: the set called `name`
    # null means {log: 15}: Hydra merges a given {every: 10} into a mapping that stands there already, and refuses a list
    schedule: Any = None

    def __post_init__(self) -> None:
        if self.schedule is None:
            object.__setattr__(self, "schedule", {"log": 15})
        schedule = self.schedule
        if isinstance(schedule, (list, tuple)):
            for step in schedule:
                check_whole("measure.schedule", step, low=0)
        elif isinstance(schedule, Mapping) and len(schedule) == 1 and next(iter(schedule)) in ("log", "every"):
            check_whole(f"measure.schedule.{next(iter(schedule))}", next(iter(schedule.values())), low=1)
        else:
            raise refusal(
                f"measure.schedule={shown(schedule)}",
                "not allowed",
                "must be {log: 15}, {every: 10} or a list of steps",
            )


@dataclass(frozen=True)
class EngineConfig:
    """How the runs are computed. `name` and `device` may change the last digits of a number, nothing else here."""

    name: str = "auto"  # a trainer by name, or the first that can
    device: str = "cpu"
    workers: int | None = None  # null: one process a core
    chunk: int | None = None  # runs stacked at once; null: from their bytes

    def __post_init__(self) -> None:
        check_choice("engine", self.name, ("auto", "kernel", "stacked", "single"))
        if self.workers is not None:
            check_whole("engine.workers", self.workers, low=1, note=" or null for one per core")
        if self.chunk is not None:
            check_whole("engine.chunk", self.chunk, low=1, note=" or null to choose by size")


@dataclass(frozen=True)
class TrackConfig:
    """Where MLflow records go."""

    uri: str | None = "auto"
    children: str = "headline"

    def __post_init__(self) -> None:
        check_choice("track.children", self.children, ("headline", "full", "none"))


@dataclass(frozen=True)
class ReportConfig:
    """What the report compares with, and the files it writes."""

    baseline: str | None = None
    family: Any = None  # null: every setup; or a list of setups and initializers
    formats: list[str] = field(default_factory=lambda: ["html", "md", "csv"])
    pairs: bool = False  # also every two setups

    def __post_init__(self) -> None:
        listed = self.family if isinstance(self.family, (list, tuple)) else [self.family or ""]
        if not all(isinstance(one, str) for one in listed) or not listed:
            do = "must be null or a list of setups or initializers, e.g. 'report.family=[eye,orthogonal]'"
            raise refusal(f"report.family={shown(self.family)}", "not allowed", do)
        if not self.formats:
            raise refusal("report.formats=[]", "no format is named", "name at least one, e.g. report.formats=[html]")
        for name in self.formats:
            check_choice("report.formats", name, ("html", "md", "csv", "latex", "figures", "archive"))
