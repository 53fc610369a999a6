"""What `llmasos` alone shows: the commands to begin with."""

from __future__ import annotations

from collections.abc import Collection

HOW_MANY = 5
BEGINNINGS = (  # in the order of a first day; those shown are the first that there are
    ("run", 'llmasos run smollm2 "The capital of France is"', "answer a prompt; the model is fetched first"),
    ("chat", "llmasos chat smollm2", "talk with it"),
    ("pull", "llmasos pull qwen3:0.6b", "fetch another model"),
    ("list", "llmasos list", "see what is here"),
    ("show", "llmasos show smollm2", "see what a model is"),
    ("rm", "llmasos rm qwen3:0.6b", "remove it"),
)


def beginning(commands: Collection[str]) -> str:
    """The page, of those commands that there are."""
    shown = [(typed, meaning) for name, typed, meaning in BEGINNINGS if name in commands][:HOW_MANY]
    width = max(len(typed) for typed, _ in shown)
    lines = "".join(f"    {typed.ljust(width)}  {meaning}\n" for typed, meaning in shown)
    return (
        "llmasos runs language models on your own machine. To begin with:\n\n"
        f"{lines}\n"
        "`llmasos --help` shows all commands, `llmasos COMMAND --help` one with its options.\n"
    )
