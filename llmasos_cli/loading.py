"""A model in memory for a command that makes no text with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmasos.engine.options import LoadOptions
from llmasos.formats.purpose import Purpose
from llmasos_cli import output

if TYPE_CHECKING:
    from llmasos.load import Loaded


def load(model: str, loading: dict[str, Any], purpose: Purpose, *, offline: bool) -> Loaded:
    """Pulls the model if need be and loads it with the options that were typed, beside those of the settings."""
    from llmasos.load import Loaded
    from llmasos.locate import locate
    from llmasos.settings import configured, is_offline, layered

    options = layered(LoadOptions, *configured(LoadOptions), loading)
    progress = output.make_progress()
    located = locate(model, progress=progress, offline=offline or is_offline())
    return Loaded(located, options, answer_tokens=0, prompt_bytes=0, progress=progress, purpose=purpose)
