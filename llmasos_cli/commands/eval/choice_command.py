"""`llmasos eval choice`: multiple choice by likelihood."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from llmasos.engine.options import LoadOptions, SamplingOptions
from llmasos.errors import UsageError
from llmasos_cli import output
from llmasos_cli.measuring import NOT_BIAS, NOT_MEASURED, DataOption, LimitOption, find_model, keep, tell_start
from llmasos_cli.options import JsonOption, ModelArgument, OfflineOption, VerboseOption, takes

FileOption = Annotated[
    Path | None,
    typer.Option(
        "-f",
        "--file",
        help='Questions, a line of JSON each: {"question": …, "choices": […], "answer": 0}.',
        metavar="FILE",
        readable=False,
    ),
]
TaskOption = Annotated[
    str | None,
    typer.Option(
        "--task", help="A known set: hellaswag, piqa, arc, mmlu, openbookqa or commonsenseqa.", metavar="NAME"
    ),
]


@takes(SamplingOptions, "debiasing", "Bias", without=NOT_BIAS)
@takes(LoadOptions, "loading", "Loading", without=NOT_MEASURED)
def choice_command(
    model: ModelArgument,
    file: FileOption = None,
    task: TaskOption = None,
    data: DataOption = None,
    limit: LimitOption = None,
    json: JsonOption = False,
    offline: OfflineOption = False,
    verbose: VerboseOption = False,
    *,
    debiasing: dict[str, Any],
    loading: dict[str, Any],
) -> None:
    """Asks questions with several answers; what the model finds likeliest counts, as in lm-evaluation-harness.

    llmasos eval choice smollm2 -f questions.jsonl
    llmasos eval choice smollm2 --task piqa --limit 200
    llmasos eval choice smollm2 --task arc --data ARC-Easy-Test.jsonl
    """
    from dataclasses import asdict

    from llmasos.evaluation.choice import MEASURES, measure_choices
    from llmasos.evaluation.choice_tasks import find_task, read_questions
    from llmasos.evaluation.packaged import digest, find_files
    from llmasos.evaluation.perplexity import describe_run

    if (file is None) == (task is None):
        raise UsageError("say what is asked", hint="-f FILE has questions of yours, --task NAME is a known set")
    if file is not None and data is not None:
        raise UsageError("--data goes with --task", hint="-f FILE is enough for questions of yours")
    known = find_task(task)
    files = [file] if file is not None else find_files(known.source, data)
    questions = [each for path in files for each in read_questions(path, known)][:limit]
    if task is not None:
        output.note(f"{known.source.name}: {known.source.license}, {files[0]}")
    chosen = find_model(model, {**debiasing, **loading}, offline=offline, verbose=verbose)
    found = measure_choices(
        chosen.located,
        questions,
        chosen.loading,
        sampling=chosen.sampling,
        progress=output.make_progress(),
        started=tell_start(verbose),
    )
    text = {"name": task or str(file), "sha256": digest(files)}
    described = {"text": text, "limit": limit, **describe_run(chosen.loading, chosen.sampling)}
    told = asdict(found)
    keep("choice", chosen.located, described, told)
    if json:
        output.write_json({**told, "settings": described})
        return
    for name in MEASURES:
        output.write_line(f"{name:<10} {told[name]['mean']:.4f} +/- {told[name]['error']:.4f}")
    output.write_line(f"chance     {found.chance:.4f}")
    output.write_line(f"questions  {found.n}")
