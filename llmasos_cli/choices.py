"""What a command that writes text was told: the model, found on this disk or pulled, and its options in layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmasos.engine.options import (
    ALL_OPTIONS,
    AnswerOptions,
    BeamOptions,
    ChatOptions,
    LoadOptions,
    SamplingOptions,
)
from llmasos_cli import output

if TYPE_CHECKING:
    from llmasos.load import Loaded
    from llmasos.locate import Located

FILES_OF_A_MODEL = ("lora", "draft")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A model and how it is to be loaded and asked."""

    located: Located
    draft: Located | None
    sampling: SamplingOptions
    limits: AnswerOptions
    loading: LoadOptions
    beams: BeamOptions
    chatting: ChatOptions
    suggested_context: int


def choose(model: str, flags: Mapping[str, Any], *, offline: bool, task: Mapping[str, Any] | None = None) -> Chosen:
    """Pulls the model if need be. The layers: its own parameters, a task's, config.toml, the environment, the flags.

    What is wrong with an option is told before anything is pulled.
    """
    from llmasos.locate import locate, locate_adapter
    from llmasos.settings import configured, is_offline, layered, own_parameters, read_config, unknown_keys

    for warning in unknown_keys(read_config(), *ALL_OPTIONS):
        output.note(f"warning: {warning}")
    task = task or {}
    for options in ALL_OPTIONS:
        layered(options, task, *configured(options), flags)
    for adapter in layered(LoadOptions, *configured(LoadOptions), flags).lora:
        locate_adapter(adapter)
    offline = offline or is_offline()
    located = locate(model, progress=output.make_progress(), offline=offline)
    own, troubles = own_parameters(located.parameters or "{}", *ALL_OPTIONS)
    for trouble in troubles:
        output.note(f"note: {trouble}")
    suggested_context = own.pop("context_length", 0)
    for name in FILES_OF_A_MODEL:
        own.pop(name, None)  # a model names no files of this disk

    def chosen(options: type[Any]) -> Any:
        return layered(options, own, task, *configured(options), flags)

    loading = chosen(LoadOptions)
    return Chosen(
        located=located,
        draft=locate(loading.draft, progress=output.make_progress(), offline=offline) if loading.draft else None,
        sampling=chosen(SamplingOptions),
        limits=chosen(AnswerOptions),
        loading=loading,
        beams=chosen(BeamOptions),
        chatting=chosen(ChatOptions),
        suggested_context=suggested_context,
    )


def tell_plan(loaded: Loaded, *, verbose: bool) -> None:
    """What was chosen for this machine, where that is of concern or asked for."""
    from llmasos.hardware.plan import describe

    if verbose:
        output.note(f"llmasos: {describe(loaded.plan, loaded.machine)}")
    if loaded.plan.beyond_training:
        output.note("warning: the context is longer than what the model was trained for; answers may suffer")


def warn_of_unused_gpu(loaded: Loaded) -> None:
    """Nothing runs on the processor silently while a graphics card is there, unless that was asked for."""
    from llmasos.engine.build import FLAGS, install_command

    asked = loaded.options.gpu_layers
    if loaded.machine.cards or asked == 0:
        return
    if maker := loaded.machine.unused_gpu:
        output.note(f"warning: the engine was not built for this machine's {maker} graphics card; the processor works")
        output.note(f"hint: {install_command(FLAGS[maker])}, or --gpu-layers 0 to be content with that")
    elif asked:
        output.note(f"warning: --gpu-layers {asked} was asked for and there is no graphics card; the processor works")
