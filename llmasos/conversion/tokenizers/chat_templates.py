"""A model's chat templates, in Jinja, wherever its repository keeps them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from llmasos.conversion.tokenizers.tokenizer_files import TOKENIZER_CONFIG, TokenizerFiles
from llmasos.errors import BadInputError

TEMPLATE = "tokenizer.chat_template"
NAMED_TEMPLATE = "tokenizer.chat_template.{name}"
TEMPLATE_NAMES = "tokenizer.chat_templates"

DEFAULT = "default"
JINJA_FILE = "chat_template.jinja"
JSON_FILE = "chat_template.json"
MORE_FOLDER = "additional_chat_templates"


def chat_template_metadata(files: TokenizerFiles) -> dict[str, Any]:
    """The keys of a GGUF for the default template and for those with names of their own; none without templates.

    tokenizer_config.json comes before chat_template.jinja, which comes before chat_template.json. Raises BadInputError
    for a template that is no text.
    """
    if not files.tokenizer_config:  # llama.cpp's converter asks for no template then
        return {}
    if "chat_template" in files.tokenizer_config:
        found = files.tokenizer_config["chat_template"]
    else:
        found = _template_in_files(files.folder)
    if isinstance(found, str):
        return {TEMPLATE: found}
    if found is not None and not isinstance(found, list):
        raise BadInputError(f"{files.folder / TOKENIZER_CONFIG} has a chat template that is no text")
    return _named_templates(found or (), files.folder)


def _template_in_files(folder: Path) -> Any:
    if (folder / JINJA_FILE).is_file():
        default = _read_text(folder / JINJA_FILE)
        more = sorted((folder / MORE_FOLDER).glob("*.jinja"))
        if not more:
            return default
        named = [{"name": path.stem, "template": _read_text(path)} for path in more]
        return [{"name": DEFAULT, "template": default}, *named]
    if (folder / JSON_FILE).is_file():
        try:
            content = json.loads(_read_text(folder / JSON_FILE))
        except (ValueError, RecursionError) as error:
            raise BadInputError(f"{folder / JSON_FILE} is no JSON: {error}") from error
        return content.get("chat_template") if isinstance(content, dict) else content
    return None


def _named_templates(listed: Any, folder: Path) -> dict[str, Any]:
    """From `[{"name": …, "template": …}, …]`; in names, everything but letters and digits of ASCII becomes `_`."""
    templates: dict[str, str] = {}
    for entry in listed:
        name = entry.get("name", "") if isinstance(entry, dict) else None
        template = entry.get("template") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not isinstance(template, str | None):
            raise BadInputError(f"{folder / TOKENIZER_CONFIG} has a list of chat templates with an entry that is none")
        if name and template is not None:
            templates[re.sub("[^A-Za-z0-9]", "_", name)] = template
    default = templates.pop(DEFAULT, None)
    return {
        **{NAMED_TEMPLATE.format(name=name): template for name, template in templates.items()},
        **({TEMPLATE_NAMES: list(templates)} if templates else {}),
        **({TEMPLATE: default} if default is not None else {}),
    }


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path} is no text in UTF-8") from error
    except OSError as error:
        raise BadInputError(f"{path} can't be read: {error.strerror}") from error
