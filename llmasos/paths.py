"""Where llmasos keeps things on this disk. `LLMASOS_HOME` moves everything."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Home:
    """The folder that holds models and settings; every path below it is named here."""

    root: Path

    @property
    def blobs(self) -> Path:
        return self.root / "blobs"

    @property
    def manifests(self) -> Path:
        return self.root / "manifests"

    @property
    def incoming(self) -> Path:
        """Downloads that are not finished yet."""
        return self.root / "incoming"

    @property
    def locks(self) -> Path:
        return self.root / "locks"

    @property
    def trials(self) -> Path:
        """Verdicts on files that were tried in a child process."""
        return self.root / "trials"

    @property
    def importance(self) -> Path:
        """Importance matrices that were made for models, by digests of model and text."""
        return self.root / "importance"

    @property
    def tasks(self) -> Path:
        """The user's own ready-made tasks."""
        return self.root / "tasks"

    @property
    def sessions(self) -> Path:
        """Conversations, and what engines have read of them."""
        return self.root / "sessions"

    @property
    def history(self) -> Path:
        """What was measured."""
        return self.root / "history"

    @property
    def chat_history(self) -> Path:
        """What was typed in chats, for the arrow keys."""
        return self.root / "chat_history"

    @property
    def config(self) -> Path:
        return self.root / "config.toml"


def find_home() -> Home:
    """`LLMASOS_HOME`, or the platform's folder for a user's data."""
    if chosen := os.environ.get("LLMASOS_HOME"):
        return Home(Path(chosen).expanduser().absolute())
    import platformdirs  # 5 ms that a set LLMASOS_HOME saves

    return Home(Path(platformdirs.user_data_dir("llmasos", appauthor=False)))
