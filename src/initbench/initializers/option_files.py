"""The option files conf/init/*.yaml, for the initializers that name another one as their base."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from initbench.disk import conf_folder
from initbench.errors import refusal, shown
from initbench.initializers.calling import RESERVED_KEYS, Initializer, needs, resolve


def folder() -> Path:
    """conf/init."""
    return conf_folder() / "init"


@cache
def load_option(name: str) -> dict[str, Any]:
    """An option file as a dict, with its keys name, _target_ and bias; an InputError if there is none.

    >>> load_option("normal_001")["std"]
    0.01
    """
    path = folder() / f"{name}.yaml"
    if not path.is_file():
        raise refusal(f"init={shown(name)}", "no such option", "see python -m initbench.catalogue")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def base(spec: str | Mapping[str, Any], bias: Any = None) -> Initializer:
    """Another initializer: an option's name, module.function, or a mapping.

    The mapping is `{name: <option or module.function>, bias: <rule>, <arguments>}`. `bias` is the rule where
    the spec has none. Raises InputError for an unknown name or argument, and for one that fills a whole net.

    >>> base({"name": "constant", "value": 42}).args
    {'value': 42}
    """
    given = {"name": spec} if isinstance(spec, str) else dict(spec) if isinstance(spec, Mapping) else {}
    name = given.pop("name", None)
    if not isinstance(name, str):
        raise refusal(
            f"init={shown(spec)}", "it names no initializer", "must be a name, or {name: NAME, ARGUMENT: VALUE}"
        )
    option = {} if "." in name else load_option(name) if (folder() / f"{name}.yaml").is_file() else {}
    function = resolve(option.get("_target_", name))
    if needs(function) != "nothing" or getattr(function, "delegate", None) is not None:
        raise refusal(
            f"init={shown(name)}",
            "it does not fill one matrix, so it cannot be the base of another initializer",
            "use an initializer of single matrices, e.g. kaiming_normal",
        )
    rule = given.pop("bias", option.get("bias", "zeros") if bias is None else bias)
    args = {**{k: v for k, v in option.items() if k not in RESERVED_KEYS}, **given}
    return Initializer.of(function, args, rule, name)


def target_of(spec: str | Mapping[str, Any]) -> str:
    """The function that names another initializer, as a name of the catalogue or module.function.

    >>> target_of("xavier_normal"), target_of({"name": "my_init.f"})
    ('initbench.initializers.xavier_normal_', 'my_init.f')
    """
    name = spec if isinstance(spec, str) else str(spec["name"])
    return str(load_option(name).get("_target_", name)) if (folder() / f"{name}.yaml").is_file() else name


def known() -> list[str]:
    """Names of all options, in order.

    >>> "xavier_normal" in known()
    True
    """
    return sorted(path.stem for path in folder().glob("*.yaml"))
