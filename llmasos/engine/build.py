"""Which build of the engine llmasos works with, and how one for a graphics card is had."""

from __future__ import annotations

import sys

VERSION = "0.3.36"  # of llama-cpp-python: one commit of llama.cpp; pyproject.toml pins the same
FLAGS = {"NVIDIA": "-DGGML_CUDA=on", "AMD": "-DGGML_HIP=on", "Apple": "-DGGML_METAL=on"}


def install_command(flags: str = "") -> str:
    """What to type to build the engine again, for this very Python."""
    prefix = f'CMAKE_ARGS="{flags}" ' if flags else ""
    return f"{prefix}{sys.executable} -m pip install --no-cache-dir --force-reinstall llama-cpp-python=={VERSION}"
