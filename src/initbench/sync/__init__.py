"""MLflow filled from study folders: what is missing there, and what an interrupted command has left undone here."""

from initbench.sync.folders import Synced, opened, sync

__all__ = ["Synced", "opened", "sync"]
