"""`tiltyard users create-admin`: the first administrator, with no server running."""

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tiltyard.cli import main
from tiltyard_registry.rules.principals.tokens import hash_of, is_whole
from tiltyard_registry.store.principals.callers import caller_of_token
from tiltyard_registry.store.principals.passwords import password_of
from tiltyard_registry.store.sql.database import Database

PASSWORD = "correct horse battery"


def _run(folder: Path, *words: str, typed: str = "") -> Result:
    return CliRunner().invoke(main, ["users", "create-admin", *words, "--data-dir", str(folder / "data")], input=typed)


def test_the_embedded_database_is_made_with_an_administrator(tmp_path: Path) -> None:
    """The password comes from a prompt, asked twice, or from a file; it is not shown."""
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    for name, words, typed in (
        ("ann", [], f"{PASSWORD}\n{PASSWORD}\n"),
        ("ben", ["--password-file", str(tmp_path / "password")], ""),
        ("col", ["--password-file", "-"], f"{PASSWORD}\r\n"),
    ):
        done = _run(tmp_path, name, *words, typed=typed)
        assert done.exit_code == 0, done.output
        assert f"'{name}' is an administrator." in done.output and PASSWORD not in done.output

    async def known() -> list[bool]:
        database = Database(f"sqlite:///{tmp_path / 'data' / 'tiltyard.db'}")
        found = [await password_of(database, name) is not None for name in ("ann", "ben", "col", "nobody")]
        await database.close()
        return found

    assert asyncio.run(known()) == [True, True, True, False]


def test_a_service_gets_a_token_and_no_password(tmp_path: Path) -> None:
    """What is printed is the token and nothing else, for a script to keep."""
    done = _run(tmp_path, "robot", "--token")
    text = done.output.strip()
    assert done.exit_code == 0 and is_whole(text)

    async def known() -> bool:
        database = Database(f"sqlite:///{tmp_path / 'data' / 'tiltyard.db'}")
        who = await caller_of_token(database, hash_of(text))
        await database.close()
        return who is not None and who.is_admin and who.name == "robot"

    assert asyncio.run(known())


@pytest.mark.parametrize(
    ("words", "typed", "said"),
    [
        (["ann", "--password-file", "-"], "short\n", "expected 12 to 1024 characters, got 5"),
        (["a long enough name", "--password-file", "-"], "A Long Enough Name\n", "it is the name"),
        (["everyone", "--password-file", "-"], f"{PASSWORD}\n", "the name is reserved"),
        (["a/b", "--token"], "", "without '/'"),
        (["ann", "--password-file", "no-such-file"], "", "no-such-file"),
    ],
)
def test_what_cannot_be_is_refused_in_words(tmp_path: Path, words: list[str], typed: str, said: str) -> None:
    """Whatever is wrong is named, and nobody is made."""
    done = _run(tmp_path, *words, typed=typed)
    assert done.exit_code != 0 and said in done.output, done.output
    assert "Traceback" not in done.output


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    """Twice the same command makes one administrator."""
    assert _run(tmp_path, "robot", "--token").exit_code == 0
    again = _run(tmp_path, "robot", "--token")
    assert again.exit_code != 0 and "already exists" in again.output
