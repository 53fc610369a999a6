"""Ready-made tasks: a small TOML file each, those that come with llmasos and the user's own, in one form.

    description = "Translates a text."
    system = "You translate into {to}."          # what the model should be and do
    prompt = "Translate into {to}:\n\n{input}"   # {input} is what the person gives; without it that goes behind

    [parameters.to]
    help = "The language to translate into."
    default = "English"                          # without one it has to be given
    is_file = false                              # true: what is given names a file, whose text is taken

    [options]                                    # any option of a run by its name, a shape of the answer, or `extract`
    temperature = 0

`{name}` stands for a parameter and nothing else: no expressions, so a value is only ever text.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from llmasos.chat.extraction import require_known
from llmasos.engine.options import ALL_OPTIONS, LoadOptions
from llmasos.errors import BadInputError, UsageError
from llmasos.paths import find_home
from llmasos.settings import Layer, canonical_name, read_toml

BUILT_IN = Path(__file__).with_name("builtin")
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
PLACE = re.compile(r"\{([a-z][a-z0-9_]*)\}")
INPUT = "input"
WITH_FLAGS = ("to", "context")  # the parameters that have flags of their own, beside --set
SHAPES, EXTRACT = ("format", "schema", "regex", "grammar"), "extract"
LOADING = tuple(each.name for each in fields(LoadOptions))
OPTIONS = (*(each.name for kind in ALL_OPTIONS for each in fields(kind)), *SHAPES, EXTRACT)
KEYS = ("description", "system", "prompt", "parameters", "options")
PARAMETER_KEYS = ("help", "default", "is_file")


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """What a task can be told. Without a default it has to be; `is_file`: by a file that holds it."""

    name: str
    help: str = ""
    default: str | None = None
    is_file: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What to say to a model around a person's input, and how it is to answer."""

    name: str
    path: Path
    description: str = ""
    system: str | None = None
    prompt: str = "{input}"
    parameters: tuple[Parameter, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_built_in(self) -> bool:
        return self.path.parent == BUILT_IN

    @property
    def layer(self) -> Layer:
        """Its options as a layer of settings."""
        values = {name: value for name, value in self.options.items() if name not in (*SHAPES, EXTRACT)}
        return Layer(values, lambda name: f"{self.path.name}: {name}")

    @property
    def shape(self) -> dict[str, str]:
        """What an answer looks like, as `grammar_of_shape` takes it."""
        return {name: self.options[name] for name in SHAPES if name in self.options}

    @property
    def extract(self) -> str | None:
        return self.options.get(EXTRACT)

    def values(self, given: Mapping[str, str]) -> dict[str, str]:
        """A value for each parameter. Raises UsageError for one that is missing, or that the task does not know."""
        known = {each.name: each for each in self.parameters}
        for name in given:
            if name not in known:
                raise UsageError(
                    f"the task {self.name} has no parameter `{name}`", hint=_known(name, known, "its parameters:")
                )
        values = {name: given.get(name, each.default) for name, each in known.items()}
        for name, value in values.items():
            if value is None:
                flag = f"--{name} " if name in WITH_FLAGS else f"--set {name}="
                hint = f"give it with {flag}{'FILE' if known[name].is_file else 'VALUE'}"
                raise UsageError(f"the task {self.name} wants `{name}`: {known[name].help}", hint=hint)
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class FilledTask:
    """A task with all its parameters; what a person gives then makes a prompt of it."""

    task: Task
    values: Mapping[str, str]

    @property
    def system(self) -> str | None:
        return None if self.task.system is None else _filled(self.task.system, self.values)

    def prompt(self, given: str) -> str:
        """The prompt for an input, which may be empty only where the task has no place for one."""
        text = _filled(self.task.prompt, {**self.values, INPUT: given})
        return text if self.takes_input or not given else f"{text.rstrip()}\n\n{given}"

    @property
    def takes_input(self) -> bool:
        return INPUT in PLACE.findall(self.task.prompt)

    def wanted(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What to ask of a model in memory, the given options and shape before the task's own."""
        not_own = {*LOADING, *map(canonical_name, given)}
        own = {name: value for name, value in self.task.layer.items() if name not in not_own}
        shape = {} if any(name in given for name in SHAPES) else self.task.shape
        system = {} if self.system is None else {"system": self.system}
        return {**system, **own, **shape, **given}


def fill_task(name: str, parameters: Mapping[str, str]) -> FilledTask:
    """The task of that name, told its parameters as texts; for what is raised see `read_task` and `Task.values`."""
    task = read_task(name)
    return FilledTask(task, task.values(parameters))


def task_names() -> list[str]:
    """The names of all tasks there are."""
    return sorted({path.stem for path in _files()})


def read_task(name: str) -> Task:
    """The task of that name, the user's own before ours.

    Raises UsageError if there is none, BadInputError for a file that is no task.
    """
    for path in _files():
        if path.stem == name:
            return _task(path)
    raise UsageError(f"there is no task `{name}`", hint=_known(name, task_names(), "tasks:"))


def read_tasks() -> list[Task]:
    """All tasks by name. Raises BadInputError for a file that is none."""
    return [read_task(name) for name in task_names()]


def _files() -> list[Path]:
    """The files of tasks, the user's own first."""
    return [path for folder in (find_home().tasks, BUILT_IN) for path in sorted(folder.glob("*.toml"))]


def _task(path: Path) -> Task:
    if not NAME.fullmatch(path.stem):
        raise BadInputError(f"{path}: a task's name has small letters, digits, `-` and `_`")
    content = read_toml(path)
    _require_known_keys(path, content, KEYS)
    parameters = tuple(_parameter(path, name, each) for name, each in _table(path, content, "parameters").items())
    texts = {key: _text(path, content, key) for key in ("description", "system", "prompt") if key in content}
    task = Task(name=path.stem, path=path, parameters=parameters, options=_options(path, content), **texts)
    _require_places(path, task)
    return task


def _options(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    options = {canonical_name(name): value for name, value in _table(path, content, "options").items()}
    _require_known_keys(path, options, OPTIONS, "options")
    for name in (*SHAPES, EXTRACT):
        if name in options:
            _text(path, options, name, "options")
    if EXTRACT in options:
        require_known(options[EXTRACT])
    return options


def _parameter(path: Path, name: str, content: Any) -> Parameter:
    place = f"parameters.{name}"
    if name == INPUT or not PLACE.fullmatch(f"{{{name}}}"):
        raise BadInputError(f"{path}: `{name}` can't be a parameter's name")
    if not isinstance(content, dict):
        raise BadInputError(f"{path}: {place} is a table")
    _require_known_keys(path, content, PARAMETER_KEYS, place)
    is_file = content.get("is_file", False)
    if not isinstance(is_file, bool):
        raise BadInputError(f"{path}: {place}.is_file is true or false")
    texts = {key: _text(path, content, key, place) for key in ("help", "default") if key in content}
    return Parameter(name=name, is_file=is_file, **texts)


def _require_places(path: Path, task: Task) -> None:
    """A parameter that stands nowhere is a spelling mistake on one side or the other."""
    used = set(PLACE.findall(task.prompt + (task.system or "")))
    for each in task.parameters:
        if each.name not in used:
            raise BadInputError(f"{path}: neither the prompt nor the system text has {{{each.name}}}")


def _require_known_keys(path: Path, content: Mapping[str, Any], known: Iterable[str], place: str = "a task") -> None:
    for key in content:
        if key not in known:
            raise BadInputError(f"{path}: `{key}` means nothing in {place}", hint=_known(key, known, "known:"))


def _table(path: Path, content: Mapping[str, Any], key: str) -> dict[str, Any]:
    table = content.get(key, {})
    if not isinstance(table, dict):
        raise BadInputError(f"{path}: {key} is a table")
    return table


def _text(path: Path, content: Mapping[str, Any], key: str, place: str = "") -> str:
    value = content[key]
    if not isinstance(value, str):
        raise BadInputError(f"{path}: {f'{place}.{key}' if place else key} is a text")
    return value.strip()


def _filled(text: str, values: Mapping[str, str]) -> str:
    """Braces around anything but a parameter's name stay as they are."""
    return PLACE.sub(lambda place: values.get(place[1], place[0]), text)


def _known(name: str, known: Iterable[str], title: str) -> str:
    """What else there is, what is spelled nearly so first."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=2, cutoff=0.6)
    meant = f"did you mean {' or '.join(f'`{each}`' for each in near)}? " if near else ""
    return f"{meant}{title} {', '.join(names) or 'none'}"
