"""`llmasos run`: one prompt, its answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmasos.engine.options import (
    AnswerOptions,
    BeamOptions,
    ChatOptions,
    LoadOptions,
    SamplingOptions,
    ScoreOptions,
)
from llmasos.errors import UsageError
from llmasos.files import require_writable
from llmasos_cli import output
from llmasos_cli.answers import Writing, write_answers
from llmasos_cli.choices import Chosen, choose, tell_plan, warn_of_unused_gpu
from llmasos_cli.options import JsonOption, ModelArgument, OfflineOption, VerboseOption, takes
from llmasos_cli.prompts import FileOption, PromptArgument, read_file, read_prompt

if TYPE_CHECKING:
    from llmasos.chat.prompt import Prompter
    from llmasos.load import Loaded

SEEDS = 2**32 - 1  # the one beyond means a random seed to llama.cpp
MOST_AT_A_TIME = 16  # answers to one prompt
MOST_LOGPROBS = 1000
GREEDY = ("temperature", 0)
WORTH_KEEPING = 32  # tokens that were read anew, for which the file of --prompt-cache is written again
UNKNOWN_ANSWER_TOKENS = 1024  # room planned for an answer whose length nobody set

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
FormatOption = Annotated[
    str | None, typer.Option("--format", help="`json`: the answer is a JSON object.", metavar="json")
]
SchemaOption = Annotated[
    str | None,
    typer.Option(
        "--schema", help="The answer fits this JSON schema: a file, JSON, or 'name, age int'.", metavar="SCHEMA"
    ),
]
RegexOption = Annotated[
    str | None,
    typer.Option("--regex", help="The answer as a whole matches this regular expression.", metavar="PATTERN"),
]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the flags of one call say, beside the options of the library."""

    text: str
    system: str | None
    is_raw: bool
    count: int
    as_json: bool
    with_stats: bool
    to_file: Path | None
    prompt_cache: Path | None
    logprobs: int | None


@takes(LoadOptions, "loading", "Loading")
@takes(BeamOptions, "beams", "Beam search")
@takes(SamplingOptions, "sampling", "Sampling")
@takes(AnswerOptions, "limits", "Answer")
@takes(ChatOptions, "chatting", "Answer")
def run_command(
    model: ModelArgument,
    prompt: PromptArgument = None,
    file: FileOption = None,
    system: SystemOption = None,
    raw: RawOption = False,
    format: FormatOption = None,
    schema: SchemaOption = None,
    regex: RegexOption = None,
    json: JsonOption = False,
    stats: StatsOption = False,
    count: CountOption = 1,
    output_file: OutputOption = None,
    prompt_cache: PromptCacheOption = None,
    logprobs: LogprobsOption = None,
    offline: OfflineOption = False,
    verbose: VerboseOption = False,
    *,
    sampling: dict[str, Any],
    limits: dict[str, Any],
    beams: dict[str, Any],
    loading: dict[str, Any],
    chatting: dict[str, Any],
) -> None:
    """Answers one prompt. The model is pulled first if it is not here.

    llmasos run smollm2 "The capital of France is"
    git diff | llmasos run qwen3 "write a commit message"
    llmasos run smollm2 -f notes.txt "Summarize this." --temperature 0
    llmasos run smollm2 "Three colours" --schema 'colours list' --json
    llmasos run smollm2 "When did it begin?" --regex '[0-9]{4}-[0-9]{2}-[0-9]{2}'
    """
    for written in filter(None, (output_file, prompt_cache)):
        require_writable(written)
    text = read_prompt(prompt, file or [])
    wanted = _Wanted(text, system, raw, count, json, stats, output_file, prompt_cache, logprobs)
    sampling |= _grammar(format, schema, regex, sampling.get("grammar"))
    flags = {**sampling, **limits, **beams, **loading, **chatting}
    _require_no_draw(beams, sampling, count)
    _require_meaning(wanted, flags)
    _answer(choose(model, flags, offline=offline), wanted, verbose=verbose)


def _require_no_draw(beams: dict[str, Any], sampling: dict[str, Any], count: int) -> None:
    """Refuses what has no meaning in a beam search."""
    wanted = beams.get("num_beams", 1)
    drawn = [name for name, value in sampling.items() if name not in ("grammar", "seed") and (name, value) != GREEDY]
    if wanted > 1 and drawn:
        flag = f"--{drawn[0].replace('_', '-')}"
        raise UsageError(f"--num-beams never draws a token, so {flag} plays no part", hint=f"leave out {flag}")
    if 1 < wanted < count:
        raise UsageError(f"{wanted} beams can't give {count} answers", hint="raise --num-beams")


def _require_meaning(wanted: _Wanted, flags: dict[str, Any]) -> None:
    """Refuses flags that would be passed over beside others."""
    if wanted.is_raw and "think" in flags:
        raise UsageError("--raw sends the text as it is, so --think and --no-think play no part")
    if wanted.prompt_cache and flags.get("deterministic"):
        raise UsageError("--deterministic uses nothing that was read before", hint="leave out --prompt-cache")
    if wanted.logprobs is not None and not wanted.as_json:
        raise UsageError("--logprobs are told by --json", hint="add --json")
    if wanted.logprobs is not None and flags.get("num_beams", 1) > 1:
        raise UsageError("of beams as a whole there is a score; their tokens have none", hint="leave out --logprobs")


def _grammar(*given: str | None) -> dict[str, str]:
    """The grammar that `--format`, `--schema`, `--regex` or `--grammar` mean, as a sampling option."""
    if given == (None, None, None, None):
        return {}
    from llmasos.engine.structure import grammar_of_shape

    form, schema, regex, grammar = given
    files = {"schema": _text_of(schema, ".json"), "grammar": _text_of(grammar, ".gbnf")}
    found = grammar_of_shape({"format": form, "regex": regex, **files})
    return {} if found is None else {"grammar": found}


def _text_of(given: str | None, suffix: str) -> str | None:
    """What was given, or what is in the file of that name."""
    if given is None or not (_is_file(path := Path(given)) or given.endswith(suffix)):
        return given
    return read_file(path)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # text that is no file name at all, such as a long schema
        return False


def _answer(chosen: Chosen, wanted: _Wanted, *, verbose: bool) -> None:
    from llmasos.engine.bindings import log
    from llmasos.load import Loaded

    log.is_shown = verbose
    sampling, limits, loading, beams = chosen.sampling, chosen.limits, chosen.loading, chosen.beams
    answer_tokens = UNKNOWN_ANSWER_TOKENS if limits.max_tokens is None else limits.max_tokens
    with Loaded(
        chosen.located,
        loading,
        answer_tokens=answer_tokens,
        prompt_bytes=len(wanted.text.encode()),
        suggested_context=chosen.suggested_context,
        progress=output.make_progress(),
        meanwhile=_import_what_comes_next,
        draft=chosen.draft,
    ) as loaded:
        warn_of_unused_gpu(loaded)
        prompter = _make_prompter(loaded, wanted, chosen.chatting.think, has_shape=sampling.grammar is not None)
        asked = prompter.prompt(wanted.text)
        at_a_time = 1 if loading.deterministic else min(wanted.count, MOST_AT_A_TIME)
        parallel = max(beams.num_beams, at_a_time)
        with loaded.start(len(asked.tokens), parallel=parallel) as engine:
            tell_plan(loaded, verbose=verbose)
            if wanted.prompt_cache:
                engine.restore(wanted.prompt_cache, loaded.identity)
            fitted = prompter.fit(wanted.text, engine, limits.on_overflow)
            if fitted.note:
                output.note(f"note: {fitted.note}")
            if beams.num_beams > 1:
                sequences = [engine.submit(fitted.tokens, sampling, limits, beams, shown=asked.shown)]
            else:
                samplings = _with_seeds(sampling, wanted.count)
                scores = None if wanted.logprobs is None else ScoreOptions(top=wanted.logprobs)
                sequences = [
                    engine.submit(fitted.tokens, each, limits, scores=scores, shown=asked.shown) for each in samplings
                ]
            shows_thought = output.is_seen() if chosen.chatting.think is None else chosen.chatting.think
            how = Writing(asked.form, shows_thought, wanted.as_json, wanted.with_stats, wanted.to_file, wanted.count)
            answers = write_answers(engine, sequences, how)
            if wanted.prompt_cache and answers[0].prompt_tokens - answers[0].cached_tokens >= WORTH_KEEPING:
                engine.save(fitted.tokens, wanted.prompt_cache, loaded.identity)


def _import_what_comes_next() -> None:
    """The template engine takes 70 ms to import, and reading the weights needs no interpreter."""
    import llmasos.chat.prompt  # noqa: F401


def _make_prompter(loaded: Loaded, wanted: _Wanted, think: bool | None, *, has_shape: bool) -> Prompter:
    from llmasos.chat.conversation import Chat
    from llmasos.chat.messages import stored_messages
    from llmasos.chat.prompt import Prompter

    text = loaded.template
    if wanted.is_raw:
        if wanted.system:
            raise UsageError("--raw sends the text as it is, so there is no place for --system")
        return Prompter(loaded.model, None, None)
    if text is None and (loaded.located.template or loaded.located.system):
        output.note("note: the model's template is in a language that llmasos does not run; the prompt goes as it is")
    own = loaded.located.system if text else None
    system = own if wanted.system is None else wanted.system
    chat = Chat(loaded.model, text) if text else None
    before = stored_messages(loaded.located.messages) if chat else []
    return Prompter(loaded.model, chat, system, before=before, think=think, has_shape=has_shape)


def _with_seeds(sampling: Any, count: int) -> list[Any]:
    """The sampling of each of several answers, with a seed of its own."""
    seeds = [None if sampling.seed is None else (sampling.seed + index) % SEEDS for index in range(count)]
    return [replace(sampling, seed=seed) for seed in seeds]
