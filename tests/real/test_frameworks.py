"""Frameworks that people put before a server, at `llmasos serve`: LangChain by Ollama's interface, LiteLLM by both.

Each in a process of its own: they leave connections and event loops open.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


@pytest.mark.parametrize("name", ["langchain", "litellm"])
def test_it_gets_what_it_asks_for(address: str, name: str):
    subprocess.run([sys.executable, str(Path(__file__).with_name(f"uses_{name}.py")), address], check=True)
