"""Commands below a command: found as others are, and told of where others are."""

from __future__ import annotations

from llmasos_cli.app import SUBCOMMANDS, all_commands, load_command


def test_each_stands_behind_the_one_above_it():
    names = all_commands()
    assert names[names.index("eval") + 1 :][: len(SUBCOMMANDS["eval"])] == [f"eval {x}" for x in SUBCOMMANDS["eval"]]


def test_each_can_be_loaded():
    assert [load_command(name).name for name in all_commands()] == [name.split()[-1] for name in all_commands()]


def test_help_of_the_group_shows_them(llmasos):
    result = llmasos("eval", "--help")
    assert result.exit_code == 0
    assert all(name in result.stdout for name in SUBCOMMANDS["eval"])


def test_a_group_alone_says_how_it_is_called(llmasos):
    result = llmasos("eval")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: Missing command.\nhint: `llmasos eval --help` shows how it is called\n"


def test_an_error_below_a_group_names_the_whole_call(llmasos):
    result = llmasos("eval", "perplexity")
    assert result.exit_code == 2
    assert result.stderr.endswith("hint: `llmasos eval perplexity --help` shows how it is called\n")
