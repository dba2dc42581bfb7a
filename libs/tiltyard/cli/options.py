"""Options that several commands share, and those that settings make. Each flag has a `TILTYARD_…` variable."""

import functools
import math
import sys
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Literal, cast, get_args, get_origin

import click
import msgspec

from tiltyard.server.settings import Setting, settings_of
from tiltyard.server.sockets import check_host

# The services' settings by name: this library knows neither of them.
REGISTRY = "tiltyard_registry.settings:RegistrySettings"
SERVING = "tiltyard_serving.settings:ServingSettings"


def option(*flags: str, env: str | None = None, **attributes: Any) -> Callable[[Any], Any]:
    """A click option that can also be given as a variable, which its help shows: `TILTYARD_` and `env` or the flag."""
    env = env or flags[0].partition("/")[0].removeprefix("--").replace("-", "_").upper()
    return click.option(*flags, envvar=f"TILTYARD_{env}", show_envvar=True, **attributes)


def of(
    kind: type[msgspec.Struct] | str, *names: str, to: str | None = None, prefix: str = ""
) -> Callable[[Callable[..., Any]], Any]:
    """Adds an option for each field of a struct of settings that has a description, or for `names` of them.

    The command gets the struct as `to`, made of all that was given for its fields, also by other decorators above;
    without `to` it gets the values. With a `prefix` flags and parameters begin with it.
    """
    settings = resolve_name(kind) if isinstance(kind, str) else kind
    begin = f"{prefix}_" if prefix else ""

    def decorate(command: Callable[..., Any]) -> Any:
        @functools.wraps(command)
        def gathered(**given: Any) -> Any:
            if to is not None:
                fields = {name: begin + name for name in settings.__struct_fields__ if begin + name in given}
                given[to] = settings(**{name: given.pop(parameter) for name, parameter in fields.items()})
            return command(**given)

        known = settings_of(settings)
        for name in reversed(names or [name for name, setting in known.items() if setting.told.description]):
            gathered = _option(begin + name, known[name])(gathered)
        return gathered

    return decorate


def _option(name: str, setting: Setting) -> Callable[[Any], Any]:
    told = setting.told.extra or {}
    flag = f"--{name.replace('_', '-')}"
    flags = told.get("flags") or (f"{flag}/--no-{flag[2:]}" if setting.type is bool else flag)
    attributes: dict[str, Any] = {"metavar": told.get("metavar")}
    if setting.default is not None:
        attributes["default"] = setting.default
    if setting.type is bool:
        attributes["is_flag"] = True
    elif get_origin(setting.type) is tuple:
        attributes |= {"multiple": True, "callback": _parsed(told.get("parse", tuple))}
    else:
        attributes["type"] = _type(setting)
    return option(flags, name, env=told.get("env"), show_default=True, help=setting.told.description, **attributes)


def _type(setting: Setting) -> Any:
    limits = setting.bounds
    if get_origin(setting.type) is Literal:
        return click.Choice(get_args(setting.type))
    if setting.type is Path:
        is_file = bool((setting.told.extra or {}).get("is_file"))
        return click.Path(path_type=Path, file_okay=is_file, dir_okay=not is_file, exists=is_file)
    if setting.type is float:
        return _FiniteRange(limits.ge if limits.gt is None else limits.gt, limits.le, min_open=limits.gt is not None)
    if setting.type is int:
        return click.IntRange(cast("int | None", limits.ge), cast("int | None", limits.le))
    return setting.type


class _FiniteRange(click.FloatRange):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


def _parsed(parse: Callable[[tuple[str, ...]], tuple[str, ...]]) -> Callable[..., tuple[str, ...]]:
    def callback(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return parse(given)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return callback


_allow_unauthenticated = option(
    "--allow-unauthenticated",
    is_flag=True,
    help="Listen beyond loopback although callers need not say who they are.",
)
_log_format = option(
    "--log-format",
    type=click.Choice(("auto", "json", "text")),
    default="auto",
    show_default=True,
    help="How the log is written: text for people, JSON lines for programs; auto is text on a terminal.",
)
_log_level = option(
    "--log-level",
    type=click.Choice(("debug", "info", "warning", "error"), case_sensitive=False),
    default="info",
    show_default=True,
    help="The lowest level that is logged.",
)


def listening(command: Callable[..., Any]) -> Any:
    """Checks the `host` that the command listens on: beyond loopback its `auth` must ask who is calling."""

    @functools.wraps(command)
    def checked(*, host: str, allow_unauthenticated: bool, **rest: Any) -> Any:
        asks_who = "anonymous" not in rest.get("auth", ("anonymous",))
        return command(host=check_host(host, allow_unauthenticated=allow_unauthenticated or asks_who), **rest)

    return _allow_unauthenticated(checked)


def logging(command: Callable[..., Any]) -> Any:
    """Adds how the log is written, which the command gets as `logs`."""

    @functools.wraps(command)
    def gathered(*, log_format: str, log_level: str, **rest: Any) -> Any:
        from tiltyard.telemetry.log_lines import LogStyle

        if log_format == "auto":
            log_format = "text" if sys.stderr.isatty() else "json"
        return command(logs=msgspec.convert({"format": log_format, "level": log_level.upper()}, LogStyle), **rest)

    return _log_format(_log_level(gathered))


def key_values(texts: tuple[str, ...], parameter: str) -> dict[str, str]:
    """What `KEY=VALUE` texts spell.

    Raises:
        click.BadParameter: one is spelled otherwise.
    """
    for text in texts:
        if not text.partition("=")[0] or "=" not in text:
            raise click.BadParameter(f"'{text}' is not KEY=VALUE.", param_hint=parameter)
    return dict(text.split("=", 1) for text in texts)


def exit_with(status: int) -> None:
    """Ends the command with `status`."""
    click.get_current_context().exit(status)
