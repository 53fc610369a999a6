"""Markdown as lines for a terminal, and where a text that still grows can be cut: pure functions over text."""

from __future__ import annotations

import io
import re
from typing import Any, ClassVar

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.color import ColorSystem
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markdown import CodeBlock, Heading, ListItem, Markdown
from rich.segment import Segment
from rich.syntax import Syntax
from rich.text import Text
from rich.theme import Theme

NARROWEST = 8  # columns; less is laid out as if it were so much
UNDECIDED = re.compile(r"\s*([-=*_+`~#>|:]*|\d+[.)]?)\s*")  # a line's beginning that may become the mark of many things
THEME = Theme(
    {
        "markdown.code": "cyan",
        "markdown.item.bullet": "cyan",
        "markdown.item.number": "cyan",
        "markdown.block_quote": "italic",
        "markdown.h1": "bold underline",
        "markdown.h2": "bold",
        "markdown.h3": "bold",
        "markdown.link_url": "underline",
    }
)
_PARSER = MarkdownIt().enable(["strikethrough", "table"]).disable(["html_block", "html_inline", "reference"])


class _Heading(Heading):
    """All at the left: what is centred jumps while it grows."""

    LEVEL_ALIGN: ClassVar[dict[str, Any]] = {}


class _CodeBlock(CodeBlock):
    """Between its fences, without a frame or a background, so that it can be copied from the screen."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        name = "" if self.lexer_name == "text" else self.lexer_name
        yield Text(f"```{name}", style="dim", no_wrap=True, overflow="ellipsis")
        code = str(self.text).rstrip()
        if code:
            yield Syntax(code, self.lexer_name, theme="ansi_dark", background_color="default", word_wrap=True)
        yield Text("```", style="dim")


class _ListItem(ListItem):
    """With a dot behind its number."""

    def render_number(self, console: Console, options: ConsoleOptions, number: int, last_number: int) -> RenderResult:
        mark = f"{number}. ".rjust(len(str(last_number)) + 3)
        style = console.get_style("markdown.item.number")
        for row in console.render_lines(self.elements, options.update(width=max(1, options.max_width - len(mark)))):
            yield Segment(mark, style)
            yield from row
            yield Segment.line()
            mark = " " * len(mark)


class _Markdown(Markdown):
    elements = {
        **Markdown.elements,
        "heading_open": _Heading,
        "fence": _CodeBlock,
        "code_block": _CodeBlock,
        "list_item_open": _ListItem,
    }


def split_finished(text: str) -> tuple[str, str]:
    """The blocks of a growing text that nothing will change any more, and the rest: the last block.

    Lines end with newlines alone.
    """
    starts = [token.map[0] for token in _PARSER.parse(text) if token.level == 0 and token.map and token.nesting >= 0]
    if len(starts) < 2:
        return "", text
    lines = text.split("\n")
    return "\n".join(lines[: starts[-1]]), "\n".join(lines[starts[-1] :])


def without_undecided(text: str) -> str:
    """A growing text without a last line of which nobody can say yet what it will be: a list, a heading, a fence."""
    before, newline, last = text.rpartition("\n")
    return before if newline and UNDECIDED.fullmatch(last) else text


def render(text: str, width: int) -> list[str]:
    """The lines of a text, with colours, none wider than `width` cells and no space at their ends.

    One blank line stands between blocks.
    """
    lines: list[str] = []
    for block in _blocks(_PARSER.parse(text)):
        markdown = _Markdown("", hyperlinks=False)
        markdown.parsed = [_with_line_breaks(token) for token in block]
        rendered = _lines(markdown, width)
        lines += ["", *rendered] if lines and rendered else rendered
    return lines


def _blocks(tokens: list[Token]) -> list[list[Token]]:
    """The tokens of each block that stands in no other."""
    blocks: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        blocks[-1].append(token)
        depth += token.nesting
        if depth == 0:
            blocks.append([])
    return blocks[:-1]


def render_aside(text: str, width: int) -> list[str]:
    """The lines of a text that is no part of the answer: dim, as they are."""
    return _lines(Text(text.strip(), style="dim"), width)


def _lines(content: RenderableType, width: int) -> list[str]:
    console = Console(
        file=io.StringIO(),
        width=max(NARROWEST, width),
        force_terminal=True,
        color_system="standard",
        legacy_windows=False,
        theme=THEME,
        highlight=False,
        emoji=False,
        _environ={},
    )
    return _trimmed([_as_text(row) for row in console.render_lines(content, pad=False)])


def _with_line_breaks(token: Token) -> Token:
    """A line that the model ended, ends: poems and addresses are no prose."""
    for child in token.children or []:
        if child.type == "softbreak":
            child.type = "hardbreak"
    return token


def _as_text(row: list[Segment]) -> str:
    while row and not row[-1].text.rstrip():
        row = row[:-1]
    if row:
        row = [*row[:-1], Segment(row[-1].text.rstrip(), row[-1].style)]
    return "".join(
        each.style.render(each.text, color_system=ColorSystem.STANDARD) if each.style else each.text for each in row
    )


def _trimmed(lines: list[str]) -> list[str]:
    while lines and not lines[0]:
        lines = lines[1:]
    while lines and not lines[-1]:
        lines = lines[:-1]
    return lines
