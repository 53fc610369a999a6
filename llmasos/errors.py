"""Every error that llmasos raises on purpose, with the exit code that the command line gives for it.

    LlmasosError                1   failed
    ├── UsageError              2   the call itself is wrong
    ├── ModelNotFoundError      3   no model of that name
    ├── DoesNotFitError         4   not enough memory or disk planned for
    ├── BadInputError           5   a file, a prompt or a value that can't be used
    │   ├── CorruptModelError       a model file that is broken
    │   ├── UnsuitableTypeError     weights that can't have the type asked for, but another
    │   └── PromptTooLongError      a prompt longer than the context
    ├── QualityGateError        6   measured, and worse than was allowed
    ├── TryAgainError          75   a later try may work
    │   ├── NetworkError            the network or the other side failed
    │   ├── BusyError               somebody else holds the lock
    │   ├── StoppedError            the process that was asked has ended
    │   └── TimeUpError             it took longer than it may
    ├── AccessDeniedError       1   the other side wants a token or a licence accepted
    ├── DiskFullError           1   no room left
    └── NameTakenError          1   another model has that name already

A message says what happened, a hint what to do next. Library code raises these, translating foreign exceptions with
`from`; only the command line prints them.
"""

from __future__ import annotations

from collections.abc import Sequence


class LlmasosError(Exception):
    """Base of all errors that are shown to people without a traceback.

    `hint` is one line that says what to type or change next, or None.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def rename(self, old: str, new: str) -> None:
        """Says `new` where the message says `old`: what a person named instead of what stood for it."""
        self.message = self.message.replace(old, new)
        self.args = (self.message,)


class UsageError(LlmasosError):
    exit_code = 2


class ModelNotFoundError(LlmasosError):
    """No model answers to `reference`; `near` are names that look like it."""

    exit_code = 3

    def __init__(
        self, reference: str, *, near: Sequence[str] = (), message: str | None = None, hint: str | None = None
    ):
        if hint is None:
            hint = f"did you mean {_alternatives(near)}?" if near else "`llmasos list` shows what is installed"
        super().__init__(message or f"there is no model `{reference}`", hint=hint)
        self.reference = reference
        self.near = tuple(near)


class DoesNotFitError(LlmasosError):
    exit_code = 4


class BadInputError(LlmasosError):
    exit_code = 5


class CorruptModelError(BadInputError):
    """A model file that no engine should be given."""


class UnsuitableTypeError(BadInputError):
    """Weights that can't have the type asked for; another type would do."""


class PromptTooLongError(BadInputError):
    """The prompt's tokens, and the room asked for the answer, do not fit the context.

    `name` is what the message calls the prompt.
    """

    def __init__(
        self,
        prompt_tokens: int,
        context_length: int,
        *,
        name: str = "the prompt",
        hint: str = "raise --context-length, or choose --on-overflow truncate|shift|summarize",
    ) -> None:
        super().__init__(f"{name} is {prompt_tokens} tokens long and the context holds {context_length}", hint=hint)
        self.prompt_tokens = prompt_tokens
        self.context_length = context_length


class QualityGateError(LlmasosError):
    exit_code = 6


class TryAgainError(LlmasosError):
    exit_code = 75


class NetworkError(TryAgainError):
    pass


class BusyError(TryAgainError):
    pass


class StoppedError(TryAgainError):
    pass


class TimeUpError(TryAgainError):
    pass


class AccessDeniedError(LlmasosError):
    pass


class DiskFullError(LlmasosError):
    pass


class NameTakenError(LlmasosError):
    pass


def _alternatives(names: Sequence[str]) -> str:
    return " or ".join(f"`{name}`" for name in names)
