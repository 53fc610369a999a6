"""LoRA adapters: what is added to a model's weights while it runs, as strongly as is asked for."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmasos.engine.bindings import lib, log, make_quietly
from llmasos.engine.model import Model
from llmasos.errors import CorruptModelError


class Adapter:
    """An adapter in memory, beside its model. Load it before the contexts that use it, free it after them.

    `scale` is how strongly it counts: 1 as it was trained, 0 not at all, less than 0 against it.
    """

    def __init__(self, handle: Any, scale: float) -> None:
        self.handle = handle
        self.scale = scale

    def close(self) -> None:
        """Frees it, which has to happen before the model is freed."""
        if self.handle:
            lib.llama_adapter_lora_free(self.handle)
            self.handle = None


def load_adapter(model: Model, path: Path, name: str, scale: float = 1.0) -> Adapter:
    """Loads an adapter for a model; errors call it by its `name`. Raises CorruptModelError with llama.cpp's reason.

    A file that nobody vouches for can abort the process: check it (`formats.lora`) and try it (`trial`) first.
    """
    place = os.fsencode(path)
    handle = make_quietly(lambda: lib.llama_adapter_lora_init(model.handle, place))
    if not handle:
        reason = log.last_errors().rpartition("lora adapter: ")[2] or "llama.cpp gives no reason"
        raise CorruptModelError(f"{name} can't be used as an adapter: {reason}")
    return Adapter(handle, scale)


def apply_adapters(context: Any, adapters: Sequence[Adapter]) -> None:
    """Lets a context, llama.cpp's handle of one, compute with the sum of these adapters and with no others."""
    handles = (lib.llama_adapter_lora_p_ctypes * len(adapters))(*(each.handle for each in adapters))
    scales = (ctypes.c_float * len(adapters))(*(each.scale for each in adapters))
    lib.llama_set_adapters_lora(context, handles, len(adapters), scales)
