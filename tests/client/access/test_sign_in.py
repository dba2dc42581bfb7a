"""`tiltyard login` and `tiltyard logout`: what is kept, where, and to whom it is sent."""

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.client.access.conftest import PASSWORD, Run, parsed
from tests.client.server import Reply, ScriptedServer
from tests.fixtures.services import Service
from tests.fixtures.waiting import wait_until
from tiltyard.client import Client
from tiltyard.client.address import Credentials
from tiltyard.client.kept_tokens import forget_token, keep_token, kept_token, place
from tiltyard.errors import InvalidParameterValue


def _authorization(server: ScriptedServer) -> list[str | None]:
    return [request.headers.get("Authorization") for request in server.received]


def test_a_password_becomes_a_token_that_is_kept(tiltyard: Run, guarded: Service, configuration: Path) -> None:
    """After `login --user` commands need nothing more, and after `logout` they are strangers again."""
    said = tiltyard("login", "--user", "boss", by=None, typed=f"{PASSWORD}\n")
    assert said.stdout == f"You are 'boss' at {guarded.url}. The token is in {configuration}.\n"
    token = json.loads(configuration.read_text())[guarded.url]["token"]
    me = parsed(tiltyard("users", "show", "--json", by=None))
    assert (me["name"], me["admin"]) == ("boss", True)
    names = [row["name"] for row in parsed(tiltyard("tokens", "list", "--principal", "boss", "--json", by=None))]
    assert f"tiltyard login on {socket.gethostname()}" in names
    gone = tiltyard("logout", by=None)
    assert gone.stdout == (
        f"No token is kept for {guarded.url} any more. It is not revoked: 'tiltyard tokens revoke' does that.\n"
    )
    assert PASSWORD not in said.output
    assert token not in said.output + gone.output
    tiltyard("users", "show", by=None, status=1)
    with Client(guarded.url, credentials=Credentials(token=token)) as client:
        assert client.me().name == "boss"
    assert parsed(tiltyard("logout", "--json", by=None))["was_kept"] is False


@pytest.mark.parametrize("words", [(), ("--token-file", "-")], ids=["prompt", "standard input"])
def test_a_token_that_one_has_is_kept(
    tiltyard: Run, guarded: Service, boss: Client, configuration: Path, words: tuple[str, ...]
) -> None:
    """It is checked first, and shown by nothing."""
    text = boss.create_token("mine").token
    said = tiltyard("login", *words, "--json", by=None, typed=f"{text}\n")
    assert parsed(said) == {"registry": guarded.url, "name": "boss"}
    assert text not in said.output
    assert text in configuration.read_text()


def test_a_token_that_is_not_good_is_not_kept(tiltyard: Run, configuration: Path) -> None:
    """The registry's refusal is what one is told."""
    assert "Error: " in tiltyard("login", by=None, typed="tltp_wrong\n", status=1).output
    assert "tltp_wrong" not in tiltyard("login", "--token-file", "-", by=None, typed="tltp_wrong\n", status=1).output
    tiltyard("login", "--user", "boss", by=None, typed="a wrong password\n", status=1)
    assert not configuration.exists()


def test_only_the_user_can_read_what_is_kept(configuration: Path) -> None:
    """The file and its folder are the user's alone, also where they were open to others before."""
    configuration.parent.mkdir(mode=0o755, parents=True)
    before = os.umask(0)
    try:
        assert keep_token("http://a:1", "tlt-a") == configuration
    finally:
        os.umask(before)
    assert stat.S_IMODE(configuration.stat().st_mode) == 0o600
    assert stat.S_IMODE(configuration.parent.stat().st_mode) == 0o700
    configuration.chmod(0o644)
    keep_token("http://b:1", "tlt-b")
    assert stat.S_IMODE(configuration.stat().st_mode) == 0o600
    assert [path.name for path in configuration.parent.iterdir()] == ["credentials.json"]
    assert (kept_token("http://a:1"), kept_token("http://b:1"), kept_token("http://a:10")) == ("tlt-a", "tlt-b", None)
    assert forget_token("http://a:1")
    assert not forget_token("http://a:1")
    assert kept_token("http://b:1") == "tlt-b"


def test_a_place_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A token is not lost without a word, and nothing is kept where there is no folder."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    assert kept_token("http://a:1") is None
    with pytest.raises(InvalidParameterValue, match="cannot be written"):
        keep_token("http://a:1", "tlt-a")


def test_a_file_that_holds_something_else_is_named_and_not_shown(configuration: Path) -> None:
    """Nothing of it is in the message, and it is not written over."""
    configuration.parent.mkdir(parents=True)
    configuration.write_text('{"http://a:1": "tlt-secret"')
    with pytest.raises(InvalidParameterValue, match=r"credentials\.json' is no file of tokens") as refused:
        keep_token("http://a:1", "new")
    assert "tlt-secret" not in str(refused.value)
    assert "tlt-secret" in configuration.read_text()


def test_without_a_configuration_folder_it_is_below_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A relative XDG_CONFIG_HOME counts as none."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for told in ("", "relative"):
        monkeypatch.setenv("XDG_CONFIG_HOME", told)
        assert place() == tmp_path / ".config" / "tiltyard" / "credentials.json"


def test_a_kept_token_goes_to_its_address_alone(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is passed and what a variable names go before it; another address gets none."""
    keep_token(server.url, "tlt-kept")
    other = server.url.replace("127.0.0.1", "localhost")
    for url in (server.url, f"{server.url}/", other, server.url.replace("//", "//ann:pw@")):
        with Client(url) as client:
            client.delete_alias("m", "a")
    with Client(server.url, credentials=Credentials(token="passed")) as client:
        client.delete_alias("m", "a")
    monkeypatch.setenv("TILTYARD_TOKEN", "named")
    with Client(server.url) as client:
        client.delete_alias("m", "a")
        assert "tlt-kept" not in repr(client)
    assert _authorization(server) == [
        "Bearer tlt-kept",
        "Bearer tlt-kept",
        None,
        "Basic YW5uOnB3",
        "Bearer passed",
        "Bearer named",
    ]


def test_a_kept_token_does_not_follow_to_another_host(server: ScriptedServer) -> None:
    """An address that sends its callers elsewhere sends them without it."""
    elsewhere = ScriptedServer()
    try:
        keep_token(server.url, "tlt-kept")
        server.answers(Reply(307, b"", {"Location": f"{elsewhere.url}/version"}))
        with Client(server.url) as client:
            client.delete_alias("m", "a")
        assert _authorization(server) == ["Bearer tlt-kept"]
        assert _authorization(elsewhere) == [None]
    finally:
        elsewhere.stop()


def test_a_secret_is_in_no_list_of_processes(tiltyard: Run, guarded: Service, tmp_path: Path) -> None:
    """While the command waits for the rest of its input, what others see of it holds no secret."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("TILTYARD_", "MLFLOW_"))}
    command = [sys.executable, "-m", "tiltyard.cli", "login", "--registry-url", guarded.url, "--user", "boss"]
    process = subprocess.Popen(
        [*command, "--password-file", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment | {"XDG_CONFIG_HOME": str(tmp_path / "own")},
    )
    assert process.stdin
    process.stdin.write(PASSWORD.encode())
    process.stdin.flush()
    wait_until(lambda: "login" in psutil.Process(process.pid).cmdline())
    seen = psutil.Process(process.pid)
    assert PASSWORD not in " ".join([*seen.cmdline(), *seen.environ().values()])
    output, _ = process.communicate(b"\n")
    assert process.returncode == 0, output
    assert PASSWORD.encode() not in output


def test_no_argument_of_any_command_is_a_secret(tiltyard: Run) -> None:
    """A password or token among the words is refused as a word that nobody knows."""
    for words in (("login", "tltp_x"), ("login", "--token", "x"), ("login", "--password", "x")):
        assert "Usage" in tiltyard(*words, by=None, status=2).output
    assert "Usage" in tiltyard("users", "create", "ann", "--password", "x", status=2).output
