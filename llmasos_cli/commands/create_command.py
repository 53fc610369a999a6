"""`llmasos create`: a model with a character of its own, by a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmasos.errors import ModelNotFoundError
from llmasos_cli import output
from llmasos_cli.commands.convert_command import tell_stored
from llmasos_cli.commands.pull_command import first_use
from llmasos_cli.options import JsonOption, OfflineOption
from llmasos_cli.prompts import read_file

NameArgument = Annotated[str, typer.Argument(help="The name of the new model.", metavar="NAME")]
FileOption = Annotated[
    Path,
    typer.Option("-f", "--file", help="The recipe, a Modelfile as Ollama has them.", metavar="FILE", readable=False),
]
TypeOption = Annotated[
    str | None, typer.Option("-t", "--type", help="Quantize the weights to this type.", metavar="TYPE")
]


def create_command(
    name: NameArgument,
    file: FileOption = Path("Modelfile"),
    type_name: TypeOption = None,
    json: JsonOption = False,
    offline: OfflineOption = False,
) -> None:
    """Makes a model by a recipe: another one's weights with a system prompt, parameters, an adapter of its own.

    printf 'FROM smollm2\\nSYSTEM You are Mario.\\nPARAMETER temperature 0.3\\n' > Modelfile
    llmasos create mario
    llmasos create mario-small -f Modelfile -t Q4_K_M
    """
    from llmasos.create import create
    from llmasos.modelfile import read_modelfile
    from llmasos.settings import is_offline

    if not file.exists():
        hint = "write one, with a line such as `FROM smollm2`, or name it with -f"
        raise ModelNotFoundError(str(file), message=f"there is no file {file}", hint=hint)
    manifest = create(
        name,
        read_modelfile(read_file(file)),
        folder=file.parent,
        quantization=type_name,
        progress=output.make_progress(),
        offline=offline or is_offline(),
    )
    tell_stored(manifest, first_use(manifest), json=json)
