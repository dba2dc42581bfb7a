"""The `tiltyard` command: what it lists, what every flag offers, where services may listen."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tiltyard.cli import COMMANDS, main
from tiltyard.server.sockets import check_host


def commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command that can run here, also those of groups, with its full name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def test_every_flag_has_help_and_a_variable() -> None:
    """What a flag says can be said by a TILTYARD_ variable too, and the help tells what it does."""
    flags = [
        (f"{name} {option.opts[-1]}", option)
        for name, command in commands(main)
        for option in command.params
        if isinstance(option, click.Option)
    ]
    assert "registry --database-url" in dict(flags)
    assert [flag for flag, option in flags if not option.help] == []
    assert [flag for flag, option in flags if not str(option.envvar).startswith("TILTYARD_")] == []


def test_help_lists_the_commands_without_importing_them() -> None:
    """`tiltyard --help` imports no command, no service and no web framework."""
    code = (
        "import sys; from tiltyard.cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "heavy = {'uvicorn', 'litestar', 'numpy', 'pandas', 'pyspark', 'sqlalchemy', 'tiltyard.cli.up'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("LOADED []\n")
    for name, command in COMMANDS.items():
        if find_spec(command.path.partition(":")[0]):
            assert f"  {name} " in done.stdout


def test_a_command_whose_extra_is_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not listed, and calling it is one line that says what to install."""
    real = find_spec
    monkeypatch.setattr("tiltyard.cli.find_spec", lambda name: None if name == "sqlalchemy" else real(name))
    assert "registry" not in main.list_commands(click.Context(main))
    result = CliRunner().invoke(main, ["registry"])
    assert result.exit_code == 1
    assert result.output == "Error: 'tiltyard registry' needs sqlalchemy: pip install 'tiltyard[registry]'\n"


def test_an_unknown_command_is_refused() -> None:
    """A typo ends with the usage, not with a traceback."""
    result = CliRunner().invoke(main, ["regstry"])
    assert result.exit_code == 2
    assert "No such command 'regstry'" in result.output


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.7", "::1", "localhost"])
def test_loopback_needs_no_permission(host: str) -> None:
    """Every address of this machine alone is fine."""
    assert check_host(host, allow_unauthenticated=False) == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "10.1.2.3", "fe80::1"])
@pytest.mark.parametrize("command", [["registry"], ["serving"], ["up"]])
def test_beyond_loopback_takes_an_explicit_flag(command: list[str], host: str, tmp_path: Path) -> None:
    """A service that asks nobody who they are refuses an address that others can reach, and says what to do."""
    result = CliRunner().invoke(main, [*command, "--host", host], env={"TILTYARD_DATA_DIR": str(tmp_path)})
    assert result.exit_code == 2
    assert "--allow-unauthenticated" in result.output
    assert check_host(host, allow_unauthenticated=True) == host


def test_a_host_that_is_no_address_is_refused() -> None:
    """A name that does not resolve is an error of the flag."""
    result = CliRunner().invoke(main, ["registry", "--host", "no such host"])
    assert result.exit_code == 2
    assert "no such address" in result.output


def test_migrate_makes_the_embedded_schema_and_can_be_repeated_at_once(tmp_path: Path) -> None:
    """Any number of starters may migrate together; each ends well and the schema is there."""
    command = [sys.executable, "-m", "tiltyard.cli", "migrate", "--data-dir", str(tmp_path / "data")]
    with ThreadPoolExecutor(3) as pool:
        runs = list(pool.map(lambda _: subprocess.run(command, check=True, capture_output=True, text=True), range(3)))
    assert [run.stdout for run in runs] == ["The schema is up to date.\n"] * 3
    assert (tmp_path / "data" / "tiltyard.db").stat().st_size > 0


def test_migrate_says_in_one_line_that_the_database_is_away(free_port) -> None:
    """A server that does not answer is an error message and status 1, without a traceback or the password."""
    url = f"postgresql+asyncpg://someone:secret@127.0.0.1:{free_port()}/none"
    result = CliRunner().invoke(main, ["migrate", "--database-url", url])
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert "secret" not in result.output
    assert result.output.count("\n") == 1
