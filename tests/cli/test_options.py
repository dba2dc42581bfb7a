"""What the commands can be told: every flag with its variable, its bounds and its default, and what they refuse."""

from pathlib import Path
from typing import Any

import click
import pytest
from click._utils import UNSET
from click.testing import CliRunner

from tests.cli.test_commands import commands
from tiltyard.cli import main

RECORD = Path(__file__).with_name("options.txt")


def described(name: str, option: click.Option) -> str:
    """One line: the command, the flags, the variable, what a value is, and the default."""
    kind = option.type
    if isinstance(kind, click.Choice):
        of = "|".join(map(str, kind.choices))
    elif isinstance(kind, click.types._NumberRangeBase):
        of = f"{kind.name.split()[0]} {'>' if kind.min_open else '>='}{kind.min} <={kind.max}"
    elif isinstance(kind, click.Path):
        of = f"{'file' if kind.file_okay else 'folder'}{' that exists' if kind.exists else ''}"
    else:
        of = kind.name
    default: Any = option.get_default(click.Context(click.Command(name)))
    words = ["/".join([*option.opts, *option.secondary_opts]), str(option.envvar), of]
    words += ["repeated"] * option.multiple + ["required"] * option.required
    return f"{name}: {' '.join(words)}" + (f" = {default}" if default not in (None, (), False, UNSET) else "")


def options() -> list[str]:
    """Every option of every command."""
    return [
        described(name, option)
        for name, command in commands(main)
        for option in sorted(command.params, key=lambda each: each.opts[0])
        if isinstance(option, click.Option) and option.name != "help"
    ]


def test_every_option_is_what_it_was() -> None:
    """A flag, a variable, a bound or a default changes only together with the record of them."""
    assert "\n".join(options()) == RECORD.read_text().strip()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("registry --port 65536", 2, "'--port': 65536 is not in the range 0<=x<=65535."),
        ("registry --workers 0", 2, "'--workers': 0 is not in the range 1<=x<=256."),
        ("registry --max-values 0", 2, "'--max-values': 0 is not in the range x>=1."),
        ("registry --max-tags-per-run many", 2, "'--max-tags-per-run': 'many' is not a valid int"),
        ("registry --keep-alive-s 0", 2, "'--keep-alive-s': 0 is not in the range x>=1."),
        ("registry --slow-client-s 0", 2, "'--slow-client-s': 0.0 is not in the range x>0."),
        ("registry --slow-client-s nan", 2, "'--slow-client-s': 'nan' is not a finite number."),
        ("registry --drain-timeout-s 0.5", 2, "'--drain-timeout-s': 0.5 is not in the range x>=1."),
        ("registry --trusted-proxies x", 2, "'--trusted-proxies': 'x' is no address and no network, such as 10."),
        ("registry --allowed-hosts http://x", 1, "allowed_hosts"),
        ("registry --access-log=maybe", 2, "Option '--access-log' does not take a value."),
        ("serving --coerce some", 2, "'--coerce': 'some' is not one of 'strict', 'lenient'."),
        ("serving --config /nowhere", 2, "'--config': File '/nowhere' does not exist."),
        ("serving --cache-dir /etc/passwd", 2, "'--cache-dir': Directory '/etc/passwd' is a file."),
        ("serving --payload-log-sample 2", 2, "'--payload-log-sample': 2.0 is not in the range 0<=x<=1."),
        ("serving --request-timeout-s inf", 2, "'--request-timeout-s': 'inf' is not a finite number."),
        ("up --registry-port -1", 2, "'--registry-port': -1 is not in the range 0<=x<=65535."),
        ("up --serving-workers 257", 2, "'--serving-workers': 257 is not in the range 1<=x<=256."),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_refused_by_its_flag(words: str, status: int, said: str) -> None:
    """Nothing starts; one line names the flag, what came and what is expected."""
    result = CliRunner().invoke(main, words.split())
    assert result.exit_code == status
    assert [part for part in said.split(": ", 1) if part not in result.output] == []


def test_a_variable_that_cannot_be_is_refused_too() -> None:
    """The same bounds hold for what the environment says."""
    result = CliRunner().invoke(main, ["serving"], env={"TILTYARD_MAX_ROWS": "0"})
    assert result.exit_code == 2
    assert "0 is not in the range x>=1." in result.output
