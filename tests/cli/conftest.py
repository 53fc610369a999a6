"""What tests of commands share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from doubles.hub import StandInHub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    with StandInHub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub
