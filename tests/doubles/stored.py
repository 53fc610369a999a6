"""What is in the store of a test's home."""

from __future__ import annotations

from llmasos.store.store import ModelStore


def stored() -> dict[str, str]:
    """Names and quantizations of the models in the store."""
    return {str(model.name): str(model.facts.quantization) for model in ModelStore().models()}
