"""Options of conf/init as small arms take them."""

from __future__ import annotations

from typing import Any

from initbench.config.groups import InitConfig
from initbench.initializers.option_files import load_option


def option(name: str, **changes: Any) -> InitConfig:
    """An option of conf/init, as the command line would give it with these changes."""
    o = {**load_option(name), **changes}
    args = {key: value for key, value in o.items() if key not in ("name", "_target_", "bias")}
    return InitConfig(name, o["_target_"], o.get("bias", "zeros"), args)
