"""A home for libraries that ask for one, where a user has none or cannot write it: in a container, say."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def private() -> Path | None:
    """This user's folder below TMPDIR; None where it cannot be made or another user has made it."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    try:
        place = Path(tempfile.gettempdir()) / f"initbench-{user}"
        place.mkdir(mode=0o700, exist_ok=True)
        return place if not hasattr(os, "getuid") or place.lstat().st_uid == user else None
    except OSError:
        return None


def given() -> None:
    """MLflow cannot be imported where no home is known; Matplotlib complains where it cannot write its own folder there."""
    try:
        home = Path.home()
    except RuntimeError:  # HOME is not set, and the system does not know the user
        os.environ["HOME"] = str(private() or os.sep)
        return
    if not os.access(home, os.W_OK) and not (home / ".config").exists() and (place := private()):
        os.environ.setdefault("MPLCONFIGDIR", str(place / "matplotlib"))
