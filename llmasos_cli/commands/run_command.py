"""`llmasos run`: a prompt and its answer, or many, one a line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmasos.client.options import ClientOptions
from llmasos.engine.options import AnswerOptions, BeamOptions, ChatOptions, LoadOptions, SamplingOptions
from llmasos.errors import UsageError
from llmasos.files import require_writable
from llmasos_cli.asking import Wanted, answer
from llmasos_cli.bounds import LockOption, TimeoutOption, bounded
from llmasos_cli.choices import choose
from llmasos_cli.lines import answer_lines
from llmasos_cli.options import JsonOption, OfflineOption, VerboseOption, takes
from llmasos_cli.prompts import FileOption, PromptArgument, argument_text, read_prompt
from llmasos_cli.shapes import ExtractOption, FormatOption, RegexOption, SchemaOption, grammar_of
from llmasos_cli.task_flags import (
    ContextOption,
    ListTasksOption,
    SetOption,
    TaskOption,
    ToOption,
    filled_task,
    write_tasks,
)

if TYPE_CHECKING:
    from llmasos.tasks.task import FilledTask

MOST_LOGPROBS = 1000
GREEDY = ("temperature", 0)

ModelArgument = Annotated[  # which --list-tasks does without
    str | None,
    typer.Argument(help="A short name, a reference such as org/name:Q4_K_M, or a .gguf file.", metavar="MODEL"),
]
LinesOption = Annotated[
    bool,
    typer.Option(
        "--lines",
        help="Every line piped in, or of the files, is a prompt, PROMPT stands before each, and each answer is one "
        "line: spaces stand for its line ends, which only --json keeps.",
    ),
]
SystemOption = Annotated[str | None, typer.Option("--system", help="What the model should be and do.", metavar="TEXT")]
RawOption = Annotated[bool, typer.Option("--raw", help="No chat template: the model goes on from the prompt as it is.")]
StatsOption = Annotated[bool, typer.Option("--stats", help="Say on standard error how fast it went.")]
CountOption = Annotated[
    int, typer.Option("-n", "--count", help="How many answers.", metavar="COUNT", min=1, max=10_000)
]
OutputOption = Annotated[
    Path | None,
    typer.Option("-o", "--output", help="Write the answer to this file instead.", metavar="FILE", readable=False),
]
LogprobsOption = Annotated[
    int | None,
    typer.Option(
        "--logprobs",
        help="With --json: each token's log-probability, and those of so many of the likeliest in its place.",
        metavar="COUNT",
        min=0,
        max=MOST_LOGPROBS,
    ),
]
PromptCacheOption = Annotated[
    Path | None,
    typer.Option(
        "--prompt-cache",
        help="Keep in this file what was read of the prompt, and go on from there next time.",
        metavar="FILE",
        readable=False,
    ),
]


@takes(LoadOptions, "loading", "Loading")
@takes(BeamOptions, "beams", "Beam search")
@takes(SamplingOptions, "sampling", "Sampling")
@takes(AnswerOptions, "limits", "Answer")
@takes(ChatOptions, "chatting", "Answer")
@takes(ClientOptions, "remote", "Server")
def run_command(
    model: ModelArgument = None,
    prompt: PromptArgument = None,
    file: FileOption = None,
    lines: LinesOption = False,
    system: SystemOption = None,
    raw: RawOption = False,
    format: FormatOption = None,
    schema: SchemaOption = None,
    regex: RegexOption = None,
    extract: ExtractOption = None,
    json: JsonOption = False,
    stats: StatsOption = False,
    count: CountOption = 1,
    output_file: OutputOption = None,
    prompt_cache: PromptCacheOption = None,
    logprobs: LogprobsOption = None,
    timeout: TimeoutOption = None,
    lock: LockOption = None,
    task: TaskOption = None,
    to: ToOption = None,
    context: ContextOption = None,
    set: SetOption = None,
    list_tasks: ListTasksOption = False,
    offline: OfflineOption = False,
    verbose: VerboseOption = False,
    *,
    sampling: dict[str, Any],
    limits: dict[str, Any],
    beams: dict[str, Any],
    loading: dict[str, Any],
    chatting: dict[str, Any],
    remote: dict[str, Any],
) -> None:
    """Answers one prompt, or one a line. The model is pulled first if it is not here.

    llmasos run smollm2 "The capital of France is"
    git diff | llmasos run qwen3 --task commit-message
    llmasos run smollm2 -f notes.txt "Summarize this." --temperature 0
    llmasos run qwen3 "Is this review good or bad?" --lines < reviews.txt
    llmasos run qwen3 "A function that adds two numbers" --extract code > add.py
    llmasos run smollm2 "Three colours" --schema 'colours list' --json
    llmasos run smollm2 "When did it begin?" --regex '[0-9]{4}-[0-9]{2}-[0-9]{2}'
    """
    if list_tasks:
        write_tasks(as_json=json)
        return
    with bounded(timeout, lock):
        filled = filled_task(task, set or [], to=to, context=context)
        if model is None:
            raise UsageError("there is no model", hint='name one: llmasos run MODEL "PROMPT"')
        for written in filter(None, (output_file, prompt_cache)):
            require_writable(written)
        make = _prompt_maker(prompt if lines else None, filled)
        wanted = Wanted(
            text=make("" if lines else read_prompt(prompt, file or [], may_be_empty=not _takes_input(filled))),
            system=filled.system if system is None and filled else system,
            is_raw=raw,
            count=count,
            as_json=json,
            with_stats=stats,
            to_file=output_file,
            prompt_cache=prompt_cache,
            logprobs=logprobs,
            extract=_known_extract(extract, filled),
            is_verbose=verbose,
        )
        shape = grammar_of(format=format, schema=schema, regex=regex, grammar=sampling.get("grammar"))
        flags = {**sampling, **shape, **limits, **beams, **loading, **chatting}
        _require_no_draw(beams, sampling, count)
        _require_meaning(wanted, flags)
        if lines:
            _require_one_a_line(wanted)
        chosen = choose(model, flags, offline=offline, server=remote.get("server"), task=_task_layer(filled))
        if lines:
            answer_lines(chosen, wanted, file or [], make)
        else:
            answer(chosen, wanted)


def _prompt_maker(instruction: str | None, filled: FilledTask | None) -> Callable[[str], str]:
    """What makes a prompt of what is given: an instruction before it, a task around it."""
    before = f"{argument_text(instruction, 'the prompt')}\n\n" if instruction else ""

    def make(given: str) -> str:
        return filled.prompt(before + given) if filled else before + given

    return make


def _takes_input(filled: FilledTask | None) -> bool:
    return filled is None or filled.takes_input


def _known_extract(extract: str | None, filled: FilledTask | None) -> str | None:
    if extract is None:
        return filled.task.extract if filled else None
    from llmasos.chat.extraction import require_known

    require_known(extract)
    return extract


def _task_layer(filled: FilledTask | None) -> Mapping[str, Any]:
    """The options that a task brings, its shape of an answer as a grammar."""
    if filled is None:
        return {}
    layer = filled.task.layer
    layer.update(grammar_of(**filled.task.shape))
    return layer


def _require_no_draw(beams: dict[str, Any], sampling: dict[str, Any], count: int) -> None:
    """Refuses what has no meaning in a beam search."""
    wanted = beams.get("num_beams", 1)
    drawn = [name for name, value in sampling.items() if name not in ("grammar", "seed") and (name, value) != GREEDY]
    if wanted > 1 and drawn:
        flag = f"--{drawn[0].replace('_', '-')}"
        raise UsageError(f"--num-beams never draws a token, so {flag} plays no part", hint=f"leave out {flag}")
    if 1 < wanted < count:
        raise UsageError(f"{wanted} beams can't give {count} answers", hint="raise --num-beams")


def _require_meaning(wanted: Wanted, flags: dict[str, Any]) -> None:
    """Refuses flags that would be passed over beside others."""
    if wanted.is_raw and wanted.system:
        raise UsageError("--raw sends the text as it is, so there is no place for --system")
    if wanted.is_raw and "think" in flags:
        raise UsageError("--raw sends the text as it is, so --think and --no-think play no part")
    if wanted.prompt_cache and flags.get("deterministic"):
        raise UsageError("--deterministic uses nothing that was read before", hint="leave out --prompt-cache")
    if wanted.logprobs is not None and not wanted.as_json:
        raise UsageError("--logprobs are told by --json", hint="add --json")
    if wanted.logprobs is not None and flags.get("num_beams", 1) > 1:
        raise UsageError("of beams as a whole there is a score; their tokens have none", hint="leave out --logprobs")


def _require_one_a_line(wanted: Wanted) -> None:
    """Refuses what has no meaning where each line has one answer."""
    if wanted.count > 1:
        raise UsageError("--lines gives each line one answer", hint="leave out -n")
    if wanted.prompt_cache:
        raise UsageError("--lines reads what its prompts share only once anyway", hint="leave out --prompt-cache")
