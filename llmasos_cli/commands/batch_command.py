"""`llmasos batch`: many prompts from a file, their answers into another."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmasos.client.options import ClientOptions
from llmasos.engine.options import AnswerOptions, ChatOptions, LoadOptions, SamplingOptions
from llmasos.errors import LlmasosError, TryAgainError, UsageError
from llmasos_cli import output
from llmasos_cli.batch_progress import make_batch_progress
from llmasos_cli.choices import choose
from llmasos_cli.options import JsonOption, ModelArgument, OfflineOption, VerboseOption, takes
from llmasos_cli.shapes import FormatOption, RegexOption, SchemaOption, grammar_of

if TYPE_CHECKING:
    from llmasos.batch.run import Tally

SOME_FAILED = 1
FITTING = ("truncate", "summarize")

InputOption = Annotated[
    Path, typer.Option("-i", "--input", help="The file of prompts.", metavar="FILE", readable=False)
]
OutputOption = Annotated[
    Path,
    typer.Option("-o", "--output", help="The file that gets the results, or has some.", metavar="FILE", readable=False),
]
FormOption = Annotated[
    str | None,
    typer.Option(
        "--input-format",
        help="How the input is written; else its name tells.",
        metavar="jsonl|csv|tsv|lines",
        show_default=False,
    ),
]
TemplateOption = Annotated[
    str | None,
    typer.Option(
        "--template", help="Make prompts of fields: 'Translate: {title}'; {line} is a plain line.", metavar="TEXT"
    ),
]
SystemOption = Annotated[
    str | None, typer.Option("--system", help="What the model should be and do, where no line says it.", metavar="TEXT")
]
RawOption = Annotated[bool, typer.Option("--raw", help="No chat template: the model goes on from a prompt as it is.")]
ParallelOption = Annotated[
    int | None,
    typer.Option(
        "--parallel", help="Answers to work on at a time; else as the memory allows.", metavar="N", min=1, max=256
    ),
]
ErrorsOption = Annotated[
    Path | None, typer.Option("--errors", help="Write lines that fail to this file.", metavar="FILE", readable=False)
]
MostErrorsOption = Annotated[
    int | None, typer.Option("--max-errors", help="End the batch when more lines than that fail.", metavar="N", min=0)
]
RetriesOption = Annotated[
    int, typer.Option("--retries", help="Try again so often what the engine fails of.", metavar="N", min=0, max=100)
]


@takes(LoadOptions, "loading", "Loading")
@takes(SamplingOptions, "sampling", "Sampling")
@takes(AnswerOptions, "limits", "Answer")
@takes(ChatOptions, "chatting", "Answer")
@takes(ClientOptions, "remote", "Server")
def batch_command(
    model: ModelArgument,
    input_file: InputOption,
    output_file: OutputOption,
    input_format: FormOption = None,
    template: TemplateOption = None,
    system: SystemOption = None,
    raw: RawOption = False,
    format: FormatOption = None,
    schema: SchemaOption = None,
    regex: RegexOption = None,
    parallel: ParallelOption = None,
    errors: ErrorsOption = None,
    max_errors: MostErrorsOption = None,
    retries: RetriesOption = 2,
    json: JsonOption = False,
    offline: OfflineOption = False,
    verbose: VerboseOption = False,
    *,
    sampling: dict[str, Any],
    limits: dict[str, Any],
    loading: dict[str, Any],
    chatting: dict[str, Any],
    remote: dict[str, Any],
) -> None:
    """Answers all prompts of a file. Run again after any kind of end, it goes on where it was.

    llmasos batch smollm2 -i prompts.jsonl -o answers.jsonl --max-tokens 64
    llmasos batch smollm2 -i reviews.csv -o answers.jsonl --template "One word, good or bad: {review}"
    llmasos batch all-minilm -i titles.txt -o vectors.jsonl
    llmasos batch smollm2 -i prompts.jsonl -o answers.jsonl --errors failed.jsonl --max-errors 10 --json
    """
    from llmasos.batch.batch import Batch, Watch, run_batch
    from llmasos.batch.run import Rules

    sampling |= grammar_of(format=format, schema=schema, regex=regex, grammar=sampling.get("grammar"))
    flags = {**sampling, **limits, **loading, **chatting}
    chosen = choose(model, flags, offline=offline, server=remote.get("server"))
    if chosen.limits.on_overflow in FITTING:
        raise UsageError(f"a batch can't {chosen.limits.on_overflow} prompts", hint="--on-overflow error or shift")
    rules = Rules(retries, max_errors)
    batch = Batch(
        input_file, output_file, errors, input_format, template, system, is_raw=raw, parallel=parallel, rules=rules
    )
    progress = make_batch_progress()
    with _stopped_by_signals() as stopping:
        try:
            watch = Watch(progress.report, progress.note, stopping)
            tally, total = run_batch(batch, chosen.batching(verbose=verbose), watch)
        finally:
            progress.close()
    _tell_end(tally, total, batch.output, as_json=json)


def _tell_end(tally: Tally, total: int, path: Path, *, as_json: bool) -> None:
    """The summary, and an exit code other than 0 where lines failed or are left."""
    left = total - tally.done - tally.skipped - tally.failed
    if as_json:
        output.write_json(_facts(tally, total, left, path))
    else:
        before = f", {tally.skipped} were done before" if tally.skipped else ""
        failed = f", {tally.failed} failed" if tally.failed else ""
        speed = f" ({tally.tokens_per_second:.1f} tokens/s)" if tally.done else ""
        output.note(f"batch: {tally.done} done{before}{failed} of {total} in {tally.seconds:.1f} s{speed}")
    if tally.has_too_many_errors:
        raise LlmasosError(
            f"{tally.failed} lines failed, more than --max-errors allows; {left} are left",
            hint="mend what they say, or raise --max-errors, and run the same again",
        )
    if not tally.is_complete:
        raise TryAgainError(f"the batch was stopped, {left} lines are left", hint="run the same again to go on")
    if tally.failed:
        raise typer.Exit(SOME_FAILED)


def _facts(tally: Tally, total: int, left: int, path: Path) -> dict[str, Any]:
    """The documented JSON of a run."""
    return {
        "output": str(path),
        "lines": {
            "total": total,
            "done": tally.done,
            "done_before": tally.skipped,
            "failed": tally.failed,
            "left": left,
        },
        "retries": tally.retried,
        "tokens": {
            "prompt": tally.prompt_tokens,
            "cached": tally.cached_tokens,
            "completion": tally.completion_tokens,
        },
        "seconds": tally.seconds,
        "tokens_per_second": tally.tokens_per_second,
        "lines_per_second": tally.done / tally.seconds if tally.seconds > 0 else 0.0,
    }


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """An event that the first SIGTERM or Ctrl-C sets. What a second one does is what the first did before."""
    stopping = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, frame: object) -> None:
        if stopping.is_set():
            handler = before[signal.Signals(number)]
            if callable(handler):
                handler(number, frame)  # type: ignore[arg-type]
            sys.exit(128 + number)
        stopping.set()
        output.note("batch: finishing what has begun; once more leaves at once")

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
