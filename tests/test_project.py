"""The project's own papers agree with each other and with the code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import llmasos

PROJECT = Path(__file__).parents[1]


def test_the_changelog_begins_with_the_version_of_the_code():
    versions = re.findall(r"^## \[?(\d+\.\d+\.\d+|Unreleased)\]?", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert llmasos.__version__ in versions[:2]


def test_the_wheel_that_is_built_is_the_version_that_is_required():
    build = (PROJECT / "tools/engine-build.env").read_text()
    version = re.search(r"^VERSION=(\S+)$", build, re.MULTILINE)
    assert version is not None
    assert f"llama-cpp-python=={version[1]}" in (PROJECT / "pyproject.toml").read_text()
    assert f'VERSION = "{version[1]}"' in (PROJECT / "llmasos/engine/build.py").read_text()


def test_completions_are_those_of_the_command_line():
    done = subprocess.run(
        [sys.executable, "tools/make_completions.py", "--check"], cwd=PROJECT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_command_reference_is_that_of_the_command_line():
    command = [sys.executable, "tools/make_reference.py", "--check"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_command_is_named_in_the_readme():
    from llmasos_cli.app import all_commands

    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert [name for name in all_commands() if f"llmasos {name}" not in readme] == []


def test_both_readmes_show_the_same_commands():
    def commands(name: str) -> list[str]:
        return re.findall(
            r"^(?:    )?((?:make|llmasos|pip|git|python) .*?)\s*(?:#.*)?$",
            (PROJECT / name).read_text(encoding="utf-8"),
            re.MULTILINE,
        )

    assert commands("README.md") == commands("README.zh-CN.md")
