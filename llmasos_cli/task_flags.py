"""Ready-made tasks on the command line: `--task`, what it is told, and the list of all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmasos.errors import UsageError
from llmasos_cli import output
from llmasos_cli.prompts import argument_text, read_file

if TYPE_CHECKING:
    from llmasos.tasks.task import FilledTask, Task

PANEL = "Tasks"

TaskOption = Annotated[
    str | None,
    typer.Option(
        "--task",
        help="Do this ready-made task, such as translate or summarize, with the prompt.",
        metavar="TASK",
        rich_help_panel=PANEL,
    ),
]
ToOption = Annotated[
    str | None,
    typer.Option("--to", help="Of a task: the language to translate into.", metavar="LANGUAGE", rich_help_panel=PANEL),
]
ContextOption = Annotated[
    str | None,
    typer.Option("--context", help="Of a task: the file that holds the answer.", metavar="FILE", rich_help_panel=PANEL),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any parameter of a task. Again for more.", metavar="NAME=VALUE", rich_help_panel=PANEL),
]
ListTasksOption = Annotated[
    bool, typer.Option("--list-tasks", help="Show what tasks there are, and do none.", rich_help_panel=PANEL)
]


def filled_task(name: str | None, settings: list[str], **flags: str | None) -> FilledTask | None:
    """The task of that name with what it was told by `--set` and by the flags for single parameters."""
    told = {**dict(map(_setting, settings)), **{key: value for key, value in flags.items() if value is not None}}
    if name is None:
        if told:
            raise UsageError(f"`{next(iter(told))}` is told to a task, and there is none", hint="add --task NAME")
        return None
    from llmasos.tasks.task import FilledTask, read_task

    task = read_task(name)
    values = task.values({key: argument_text(value, key) for key, value in told.items()})
    files = {each.name for each in task.parameters if each.is_file}
    return FilledTask(task, {key: read_file(Path(value)) if key in files else value for key, value in values.items()})


def _setting(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise UsageError(f"--set takes NAME=VALUE, not {text}")
    return name.strip().replace("-", "_"), value


def write_tasks(*, as_json: bool) -> None:
    """All tasks with their parameters."""
    from llmasos.tasks.task import read_tasks

    tasks = read_tasks()
    if as_json:
        output.write_json([_facts(task) for task in tasks])
    else:
        output.write_table([_row(task) for task in tasks])


def _facts(task: Task) -> dict[str, Any]:
    """The documented JSON of a task."""
    parameters = [
        {"name": each.name, "help": each.help, "default": each.default, "is_file": each.is_file}
        for each in task.parameters
    ]
    return {
        "name": task.name,
        "description": task.description,
        "parameters": parameters,
        "built_in": task.is_built_in,
        "path": str(task.path),
    }


def _row(task: Task) -> dict[str, str]:
    told = [f"{each.name}={'FILE' if each.is_file else each.default or ''}" for each in task.parameters]
    return {"name": task.name, "parameters": " ".join(told) or "-", "description": task.description}
