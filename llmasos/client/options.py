"""Which server does the work, and the key that is shown to it. Light: imports nothing of HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llmasos.errors import BadInputError
from llmasos.settings import configured, layered, option


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientOptions:
    """None, or an empty text: the work is done here."""

    server: str | None = option(
        None,
        "Let this llmasos server do the work: http://host:port, or unix:/path. MODEL is a name there. Its key, if it "
        "wants one, is in LLMASOS_API_KEY.",
        metavar="URL",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyOptions:
    """The settings of `serve` by which it knows keys: of several the first is shown.

    There are no flags for them: whoever lists the processes of a machine sees what was typed.
    """

    api_key: tuple[str, ...] = option((), "The key that is shown to a server.")
    api_key_file: str | None = option(None, "A file with such a key.")


def configured_key() -> str | None:
    """The key of the environment or of config.toml. Raises BadInputError for a file that can't be read."""
    options = layered(KeyOptions, *configured(KeyOptions))
    return next(iter([*options.api_key, *keys_in(options.api_key_file)]), None)


def keys_in(file: str | None) -> list[str]:
    """The keys in a file, one a line. Raises BadInputError for one that can't be read, or has none."""
    if file is None:
        return []
    try:
        lines = Path(file).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"can't read the keys in {file}: {getattr(error, 'strerror', None) or error}") from error
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not keys:
        raise BadInputError(f"there is no key in {file}", hint="it has one key a line")
    return keys
