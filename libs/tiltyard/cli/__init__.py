"""The `tiltyard` command. Subcommands are a table of dotted paths, each imported when it is first called."""

import importlib
import sys
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import click

from tiltyard.errors import MissingPackage, ModelIntegrityError, TiltyardError, TransportError
from tiltyard.server.early_stop import end_when_told


class Subcommand(NamedTuple):
    """One row of the table: where the command lives, and what must be installed for it."""

    path: str
    summary: str
    extra: str | None = None
    needs: tuple[str, ...] = ()


_REGISTRY = ("litestar", "uvicorn", "sqlalchemy", "alembic")
_SERVING = ("litestar", "uvicorn", "numpy", "pandas")

COMMANDS: dict[str, Subcommand] = {
    "up": Subcommand(
        "tiltyard.cli.up:up",
        "Both services on this machine, on an embedded database and local artifacts.",
        "registry,serving",
        _REGISTRY + _SERVING,
    ),
    "registry": Subcommand("tiltyard_registry.cli.registry:registry", "The registry alone.", "registry", _REGISTRY),
    "serving": Subcommand("tiltyard_serving.cli.serving:serving", "The scoring service alone.", "serving", _SERVING),
    "migrate": Subcommand(
        "tiltyard_registry.cli.migrate:migrate", "Bring the database schema up to date.", "registry", _REGISTRY
    ),
    "import": Subcommand(
        "tiltyard_registry.cli.import_mlflow:import_mlflow", "Move an MLflow server in.", "registry", _REGISTRY
    ),
    "gc": Subcommand(
        "tiltyard_registry.cli.gc:gc", "Purge what was deleted long ago; find leftovers.", "registry", _REGISTRY
    ),
    "status": Subcommand("tiltyard.cli.status:status", "Whether both services work, and what is served."),
    "models": Subcommand("tiltyard.cli.models.models:models", "List, show, register, change and compare models."),
    "aliases": Subcommand("tiltyard.cli.aliases:aliases", "Show, move and roll back aliases."),
    "experiments": Subcommand("tiltyard.cli.experiments:experiments", "List, show and change experiments."),
    "runs": Subcommand("tiltyard.cli.runs:runs", "List, show, delete and restore runs."),
    "login": Subcommand("tiltyard.cli.access.sign_in:login", "Keep a token for a registry."),
    "logout": Subcommand("tiltyard.cli.access.sign_in:logout", "Keep no token for a registry any more."),
    "users": Subcommand("tiltyard.cli.access.users:users", "Users and services, and the first administrator."),
    "groups": Subcommand("tiltyard.cli.access.groups:groups", "Groups, and who is in them."),
    "tokens": Subcommand("tiltyard.cli.access.tokens:tokens", "List, make, revoke and rotate tokens."),
    "grants": Subcommand("tiltyard.cli.access.grants:grants", "Who may do what, and why."),
    "events": Subcommand("tiltyard.cli.events:events", "What changed in the registry, by whom and when."),
    "endpoints": Subcommand("tiltyard.cli.scoring.endpoints:endpoints", "List, show and change scoring endpoints."),
    "predict": Subcommand("tiltyard.cli.scoring.predict:predict", "Ask the scoring service for predictions."),
    "score": Subcommand(
        "tiltyard.cli.score:score",
        "Score a table with one model version on Spark.",
        "spark",
        ("pyspark", "pyarrow"),
    ),
    "demo": Subcommand(
        "tiltyard.cli.demo:demo", "The main job on real data, from training to the nightly batch.", "all",
        (*_REGISTRY, *_SERVING, "pyspark", "sklearn"),
    ),
}  # fmt: skip

_SERVICES = ("up", "registry", "serving")


def _missing(command: Subcommand) -> list[str]:
    return [package for package in dict.fromkeys(command.needs) if find_spec(package) is None]


class LazyGroup(click.Group):
    """Subcommands by name, none of them imported to print the help of the group."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click calls it so
        """The names of the subcommands that can run here."""
        return [
            name
            for name, command in COMMANDS.items()
            if find_spec(command.path.partition(":")[0]) and not _missing(command)
        ]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The subcommand.

        Raises:
            click.ClickException: its extra is not installed; the message names it.
        """
        command = COMMANDS.get(cmd_name)
        if command is None:
            return None
        module, _, attribute = command.path.partition(":")
        if find_spec(module) is None:
            return None
        if missing := _missing(command):
            raise click.ClickException(
                f"'tiltyard {cmd_name}' needs {', '.join(missing)}: pip install 'tiltyard[{command.extra}]'"
            )
        found: click.Command = getattr(importlib.import_module(module), attribute)
        return found

    def main(self, args: Sequence[str] | None = None, *more: Any, **extra: Any) -> Any:
        """Runs the command. A service that is told to stop while it is being imported ends at once."""
        words = sys.argv[1:] if args is None else args
        if words and words[0] in _SERVICES and threading.current_thread() is threading.main_thread():
            end_when_told()
        return super().main(args, *more, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the subcommand; what it refuses is one line on standard error and exit status 1."""
        try:
            return super().invoke(ctx)
        except (TiltyardError, TransportError, ModelIntegrityError, MissingPackage) as error:
            raise click.ClickException(str(error)) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the list of subcommands from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].summary) for name in self.list_commands(ctx)])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="tiltyard", prog_name="tiltyard")
def main() -> None:
    """Tiltyard: a model registry, a scoring service and Spark batch scoring."""
