"""llmasos runs language models on the machine its user already has."""

from __future__ import annotations

__version__ = "0.1.0"
