"""The devices that the installed engine can compute on, as values."""

from __future__ import annotations

import ctypes

from llmasos.engine.bindings import shared
from llmasos.hardware.machine import Device

KINDS = {0: "cpu", 1: "gpu", 2: "igpu", 3: "accelerator", 4: "meta"}  # ggml_backend_dev_type


def list_devices() -> tuple[Device, ...]:
    """All devices, processors included, in the engine's own order."""
    return tuple(_device(shared.ggml_backend_dev_get(index)) for index in range(shared.ggml_backend_dev_count()))


def _device(handle: int) -> Device:
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    shared.ggml_backend_dev_memory(handle, ctypes.byref(free), ctypes.byref(total))
    return Device(
        name=shared.ggml_backend_dev_name(handle).decode(),
        description=shared.ggml_backend_dev_description(handle).decode(),
        kind=KINDS.get(shared.ggml_backend_dev_type(handle), "unknown"),
        free_bytes=free.value,
        total_bytes=total.value,
    )
