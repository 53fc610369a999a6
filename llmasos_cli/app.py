"""The command line as a whole: which commands there are, how they are loaded, and what an error looks like.

Only the module of the command that was typed is imported.
"""

from __future__ import annotations

import importlib
from typing import Any

import typer
from typer.core import TyperGroup

from llmasos.errors import DiskFullError, LlmasosError
from llmasos.files import DISK_FULL
from llmasos_cli.beginning import beginning
from llmasos_cli.output import ReaderLeftError, note, write

MODELS, MAKE, USE, SERVE, MEASURE = "Models", "Make", "Use", "Serve", "Measure"
COMMANDS = {
    "run": USE,
    "chat": USE,
    "batch": USE,
    "tokens": USE,
    "embed": USE,
    "rerank": USE,
    "serve": SERVE,
    "ps": SERVE,
    "stop": SERVE,
    "pull": MODELS,
    "list": MODELS,
    "show": MODELS,
    "create": MODELS,
    "cp": MODELS,
    "rm": MODELS,
    "import": MODELS,
    "verify": MODELS,
    "prune": MODELS,
    "convert": MAKE,
    "quantize": MAKE,
    "export": MAKE,
    "eval": MEASURE,
}
SUBCOMMANDS = {"eval": ("perplexity", "compare", "choice", "bias", "steer", "list", "show")}
STORIES = {"eval": "Measures a model: how well it foresees a text, and what changing it has cost."}
INTERRUPTED = 130
HELP_NAMES = {"help_option_names": ["-h", "--help"]}
ClickError: type[Any] = typer.BadParameter.__mro__[2]  # the base of what Typer raises for a wrong call


class LazyGroup(TyperGroup):
    """Imports a command when it is called for, and all of them only to list them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(SUBCOMMANDS.get(self.name or "", COMMANDS))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        above = f"{self.name} " if self.name in SUBCOMMANDS else ""
        return load_command(above + cmd_name) if cmd_name in self.list_commands(ctx) else None


def all_commands() -> list[str]:
    """Every command as it is typed, those below another behind it: `eval`, `eval perplexity`."""
    return [each for name in COMMANDS for each in (name, *(f"{name} {below}" for below in SUBCOMMANDS.get(name, ())))]


def load_command(typed: str) -> Any:
    """The command that is typed so, ready to be called."""
    if typed in SUBCOMMANDS:
        return _load_group(typed)
    *above, name = typed.split()
    function_name = f"{name.replace('-', '_')}_command"
    module = importlib.import_module(".".join(["llmasos_cli.commands", *above, function_name]))
    single = typer.Typer(add_completion=False, rich_markup_mode="rich", context_settings=HELP_NAMES)
    panel = None if above else COMMANDS[name]
    single.command(name, rich_help_panel=panel, no_args_is_help=False)(getattr(module, function_name))
    command = typer.main.get_command(single)
    command.name = name
    return command


def _load_group(name: str) -> Any:
    group = typer.Typer(cls=LazyGroup, add_completion=False, rich_markup_mode="rich", context_settings=HELP_NAMES)
    group.callback(help=STORIES[name], rich_help_panel=COMMANDS[name])(_do_nothing)
    command = typer.main.get_command(group)
    command.name = name
    return command


def _do_nothing() -> None:
    """What a group does before its command."""


app = typer.Typer(
    cls=LazyGroup,
    context_settings=HELP_NAMES,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


@app.callback()
def root() -> None:
    """Runs language models on your own machine.

    Begin with: llmasos run smollm2 "The capital of France is"
    """


def run_app(arguments: list[str]) -> int:
    """Runs one command line; returns its exit code. Without `--debug` no error ends in a traceback."""
    words = arguments[: arguments.index("--")] if "--" in arguments else arguments
    is_debugged = "--debug" in words
    if is_debugged:
        arguments = [word for word in words if word != "--debug"] + arguments[len(words) :]
    try:
        if not arguments:
            write(beginning(COMMANDS))
            return 0
        return _run(arguments)
    except ClickError as error:
        return _tell_wrong_call(error)
    except ReaderLeftError:
        return 0
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as error:
        if is_debugged:
            raise
        return _tell(_explained(error))


def _run(arguments: list[str]) -> int:
    try:
        result = typer.main.get_command(app).main(args=arguments, prog_name="llmasos", standalone_mode=False)
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):  # the reader of a help text has left
            return 0
        raise
    return result if isinstance(result, int) else 0


def _explained(error: Exception) -> LlmasosError:
    """Any error as one for people: what the system refuses by file and reason, a fault of ours as what it is."""
    if isinstance(error, LlmasosError):
        return error
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        if error.errno in DISK_FULL:
            return DiskFullError(f"{place}{error.strerror}", hint="free some room and run the same again")
        return LlmasosError(f"{place}{error.strerror or error}", hint="check the path and who may read and write there")
    fault = f"a fault in llmasos: {type(error).__name__}: {error}"
    return LlmasosError(fault, hint="the same with --debug shows where; please report it")


def _tell(error: LlmasosError) -> int:
    note(f"error: {error.message}")
    if error.hint:
        note(f"hint: {error.hint}")
    return error.exit_code


def _tell_wrong_call(error: Any) -> int:
    note(f"error: {error.format_message()}")
    path = error.ctx.command_path if getattr(error, "ctx", None) else "llmasos"
    note(f"hint: `{path} --help` shows how it is called")
    return int(error.exit_code)
