"""`llmasos chat`: a conversation with a model."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmasos.client.options import ClientOptions
from llmasos.engine.options import AnswerOptions, BeamOptions, ChatOptions, LoadOptions, SamplingOptions
from llmasos.errors import UsageError
from llmasos_cli import output
from llmasos_cli.options import OfflineOption, VerboseOption, takes

if TYPE_CHECKING:
    from llmasos.chat.sessions.session import Session
    from llmasos_cli.chat.screen.views import View

OptionalModelArgument = Annotated[
    str | None,
    typer.Argument(
        help="A short name, a reference or a .gguf file; the model of the last chat if none is named.",
        metavar="[MODEL]",
    ),
]
ContinueOption = Annotated[bool, typer.Option("-c", "--continue", help="Go on with the last conversation.")]
SessionOption = Annotated[
    str | None, typer.Option("--session", help="Go on with the conversation of that name, or begin it.", metavar="NAME")
]
NoSaveOption = Annotated[bool, typer.Option("--no-save", help="Keep nothing of this conversation on the disk.")]
SystemOption = Annotated[str | None, typer.Option("--system", help="What the model should be and do.", metavar="TEXT")]


@takes(LoadOptions, "loading", "Loading")
@takes(BeamOptions, "beams", "Beam search")
@takes(SamplingOptions, "sampling", "Sampling")
@takes(AnswerOptions, "limits", "Answer")
@takes(ChatOptions, "chatting", "Answer")
@takes(ClientOptions, "remote", "Server")
def chat_command(
    model: OptionalModelArgument = None,
    continue_: ContinueOption = False,
    session: SessionOption = None,
    no_save: NoSaveOption = False,
    system: SystemOption = None,
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
    """Talks with a model. /help in the chat shows what can be typed there.

    llmasos chat smollm2
    llmasos chat --continue
    llmasos chat qwen3 --session thesis --system "You are a strict reviewer."
    printf 'Name a colour.\\nAnother one.\\n' | llmasos chat smollm2
    """
    if no_save and (continue_ or session):
        raise UsageError("--no-save keeps nothing, so there is nothing to go on with", hint="leave out one of the two")
    if continue_ and session:
        raise UsageError("--continue goes on with the last conversation, --session with one of a name")
    from llmasos_cli.chat.opening import find_session

    flags = {**sampling, **limits, **beams, **loading, **chatting}
    with find_session(session, goes_on=continue_, saves=not no_save) as found:
        _chat(
            found,
            model,
            flags,
            system,
            saves=not no_save,
            server=remote.get("server"),
            offline=offline,
            verbose=verbose,
        )


def _chat(
    session: Session,
    model: str | None,
    flags: dict[str, Any],
    system: str | None,
    *,
    saves: bool,
    server: str | None,
    offline: bool,
    verbose: bool,
) -> None:
    from llmasos_cli.chat.dialogue import Dialogue
    from llmasos_cli.chat.editor import PlainEditor, edit_in_editor, has_full_terminal, make_editor
    from llmasos_cli.chat.keyboard import interruptible, interrupts_raised, silent_keyboard
    from llmasos_cli.chat.loop import talk
    from llmasos_cli.chat.opening import default_model, tell_resumed
    from llmasos_cli.choices import choose

    reason = ""
    if model is None:
        model, reason = default_model(session, server)
    is_interactive = output.is_terminal_input()
    has_terminal = has_full_terminal()
    with interruptible(is_on=has_terminal):
        speaker = choose(model, flags, offline=offline, server=server).speaker(verbose=verbose)
    dialogue = Dialogue(
        session=session,
        speaker=speaker,
        flags=flags,
        server=server,
        offline=offline,
        verbose=verbose,
        saves=saves,
        make_view=_make_view,
        ask_editor=edit_in_editor,
        is_interactive=is_interactive,
    )
    try:
        session.record({"event": "model", "name": speaker.chosen.reference})
        if system is not None:
            session.record({"event": "system", "content": system})
        if is_interactive:
            why = f" ({reason})" if reason else ""
            output.note(f"{speaker.name}{why}, context {speaker.context_length:,}; /help lists commands")
        elif reason:
            output.note(f"note: {speaker.name}, since {reason}")
        if not speaker.voice.has_template:
            output.note(
                "note: the model has no chat template, so it is given a plain one; it may not be made for chats"
            )
        tell_resumed(dialogue)
        if has_terminal:
            editor = make_editor(dialogue.status, dialogue.names, keeps_history=saves)
        else:
            editor = PlainEditor(is_prompted=is_interactive)
        with interrupts_raised(is_on=is_interactive), silent_keyboard(is_on=has_terminal):
            talk(dialogue, editor)
    finally:
        dialogue.leave()


def _make_view(shows_thought: bool) -> View:
    from llmasos_cli.chat.editor import has_full_terminal
    from llmasos_cli.chat.screen.views import MarkdownView, PlainView

    if has_full_terminal() and not os.environ.get("NO_COLOR"):
        return MarkdownView(shows_thought=shows_thought)
    return PlainView(shows_thought=shows_thought)
