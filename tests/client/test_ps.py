"""`llmasos ps` and `llmasos stop`, asked of servers that run."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from doubles.serving import Served, served

pytestmark = pytest.mark.timeout(180)
LOAD = {"model": "tiny", "keep_alive": -1}


def test_models_in_memory_are_listed_and_stopped(at: Served, llmasos):
    assert llmasos("ps").stderr == "no model is in memory\n"
    assert llmasos("stop", "tiny").stderr == "tiny was not in memory\n"
    at.post("/api/generate", **LOAD)
    at.post("/api/generate", model="org/other:small", keep_alive="1h")
    lines = [line.split() for line in llmasos("ps").stdout.splitlines()]
    assert lines[0] == ["NAME", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"]
    assert {line[0] for line in lines[1:]} == {"tiny", "org/other:small"}
    assert all("CPU" in line for line in lines[1:])
    by_name = {model["name"]: model for model in json.loads(llmasos("ps", "--json").stdout)}
    assert by_name["tiny"]["expires_at"] is None
    assert by_name["org/other:small"]["expires_at"].startswith("20")
    assert by_name["tiny"]["context_length"] > 0
    assert llmasos("stop", "tiny").stderr == "tiny is no longer in memory\n"
    assert [model["name"] for model in json.loads(llmasos("ps", "--json").stdout)] == ["org/other:small"]


def test_a_model_that_is_not_there_can_t_be_stopped(at: Served, llmasos):
    done = llmasos("stop", "nobody")
    assert (done.exit_code, done.stderr.splitlines()[0]) == (3, "error: model 'nobody' not found")


def test_a_server_that_is_not_there_is_told_with_how_to_start_one(llmasos, monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("LLMASOS_PORT", str(port))  # where serve would listen, and ps looks
    done = llmasos("ps")
    assert done.exit_code == 75
    assert done.stderr == (
        f"error: there is no server at http://127.0.0.1:{port}: Connection refused\nhint: start one: llmasos serve\n"
    )


def test_a_key_is_needed_where_the_server_wants_one(
    served_home: Path, turn_to, llmasos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with served("--api-key", "secret") as server:
        turn_to(server)
        assert llmasos("ps").exit_code == 1
        monkeypatch.setenv("LLMASOS_API_KEY", "wrong")
        done = llmasos("ps")
        assert done.exit_code == 1
        assert "LLMASOS_API_KEY" in done.stderr
        monkeypatch.setenv("LLMASOS_API_KEY", "secret,for others")
        assert llmasos("ps").exit_code == 0
        monkeypatch.delenv("LLMASOS_API_KEY")
        (tmp_path / "keys.txt").write_text("secret\n")
        monkeypatch.setenv("LLMASOS_API_KEY_FILE", str(tmp_path / "keys.txt"))
        assert llmasos("ps").exit_code == 0


def test_a_unix_socket_is_a_server_too(served_home: Path, tmp_path: Path, llmasos):
    path = tmp_path / "s"
    with served("--socket", str(path)):
        assert llmasos("ps", "--server", f"unix:{path}").stderr == "no model is in memory\n"


def test_no_proxy_leads_to_this_machine(at: Served, llmasos, monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert llmasos("ps").exit_code == 0


def test_another_machine_is_not_asked_where_the_network_is_not_to_be_used(llmasos, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LLMASOS_OFFLINE", "1")
    assert llmasos("ps", "--server", "http://10.1.1.1").exit_code == 2


def test_what_speaks_http_and_is_no_llmasos_is_told(llmasos):
    from doubles.hub import StandInHub

    with StandInHub() as hub:
        done = llmasos("ps", "--server", hub.url)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
