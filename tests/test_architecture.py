"""The architecture, kept: parts in one order, one door for each foreign library, light paths light, files short."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
SOURCES = [PROJECT / "llmasos", PROJECT / "llmasos_cli"]
LONGEST_FILE = 400

# A part imports only itself and what stands before it. Parts that are still to come have their place already.
PARTS = [
    "errors", "units", "paths", "files", "children", "settings", "progress", "modelfile", "formats", "go_templates",
    "kernels", "native", "store", "sources", "hardware", "engine", "quantization", "conversion", "make", "resolve",
    "pull", "importance", "convert", "locate", "quantize", "create", "segments", "load", "runner", "chat", "tasks",
    "openai", "ollama", "batch", "evaluation", "quality", "explanation", "distillation", "distributed", "client", "api",
    "server", "llmasos_cli",
]  # fmt: skip

DOORS = {
    "llama_cpp": {"llmasos/engine/bindings.py"},
    "torch": {"llmasos/distillation/"},
    "ray": {"llmasos/distributed/"},
    "typer": {"llmasos_cli/"},
    "rich": {"llmasos_cli/"},
    "starlette": {"llmasos/server/"},
    "uvicorn": {"llmasos/server/"},
    "markdown_it": {"llmasos_cli/"},
    "prompt_toolkit": {"llmasos_cli/"},
    "click": set(),
    "httpx2": {"llmasos/sources/", "llmasos/client/"},
    "huggingface_hub": {"llmasos/sources/"},
    "jinja2": {"llmasos/chat/template.py"},
    "filelock": {"llmasos/store/"},
    "tokenizers": {"llmasos/conversion/tokenizers/"},
    "gguf": {"llmasos/quantization/"},
}

# Where an import may stand inside a function: where a command begins, and where a heavy library is used by a few only.
LIGHT_COMMANDS = [
    ["--version"],
    ["list"],
    ["show", "nothing"],
    ["--help"],
    ["--complete", "models", ""],
    ["run", "--list-tasks"],
    [],
]
HEAVY = {"numpy", "llama_cpp", "llama_cpp.llama_cpp", "torch", "jinja2", "httpx2", "huggingface_hub"}


def source_files() -> list[Path]:
    return sorted(path for folder in SOURCES for path in folder.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def part_of(module: str) -> str | None:
    """The part that a module belongs to; None for foreign ones and for `llmasos` itself, which holds a version."""
    pieces = module.split(".")
    if pieces[0] == "llmasos_cli":
        return "llmasos_cli"
    return pieces[1] if pieces[0] == "llmasos" and len(pieces) > 1 and not pieces[1].startswith("_") else None


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == "llmasos")


@pytest.mark.parametrize("path", source_files(), ids=name_of)
def test_a_part_imports_only_itself_and_what_stands_before_it(path: Path):
    own = part_of(".".join(path.relative_to(PROJECT).with_suffix("").parts))
    if own is None:
        return
    imported = {part for module in imports_of(path) if (part := part_of(module))}
    assert all(PARTS.index(part) <= PARTS.index(own) for part in imported), f"{name_of(path)} imports {imported}"


@pytest.mark.parametrize("path", source_files(), ids=name_of)
def test_each_foreign_library_has_one_door(path: Path):
    for module in imports_of(path):
        doors = DOORS.get(module.split(".")[0])
        assert doors is None or name_of(path).startswith(tuple(doors or ["no file"])), (
            f"{name_of(path)} imports {module}"
        )


@pytest.mark.parametrize("path", [*source_files(), *sorted((PROJECT / "tests").rglob("*.py"))], ids=name_of)
def test_no_file_is_too_long(path: Path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize("path", source_files(), ids=name_of)
def test_every_module_begins_with_what_it_is_for(path: Path):
    text = path.read_text(encoding="utf-8")
    if path.name == "__init__.py" and path.parent.name != "llmasos":
        assert text == ""
    else:
        assert ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("arguments", LIGHT_COMMANDS, ids=" ".join)
def test_light_commands_load_nothing_heavy(arguments: list[str]):
    program = (
        "import sys\n"
        f"sys.argv = ['llmasos', *{arguments!r}]\n"
        "from llmasos_cli.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "sys.stderr.write('\\nLOADED ' + ' '.join(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=PROJECT, check=True)
    loaded = set(done.stderr.rpartition("LOADED ")[2].split())
    assert loaded & HEAVY == set()


@pytest.mark.parametrize("arguments", [["--version"], ["--complete", "models", ""]], ids=" ".join)
def test_version_and_completion_answer_before_the_command_line_is_imported(arguments: list[str]):
    program = (
        "import sys\n"
        f"sys.argv = ['llmasos', *{arguments!r}]\n"
        "from llmasos_cli.__main__ import main\n"
        "main()\n"
        "sys.stderr.write('LOADED ' + ' '.join(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=PROJECT, check=True)
    loaded = set(done.stderr.rpartition("LOADED ")[2].split())
    assert loaded & {"typer", "rich", "pydantic", "filelock"} == set()
