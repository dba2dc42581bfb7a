"""The line that has `spark-submit` run a command of ours on another Spark than this process."""

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

# Where the job runs is said to spark-submit and not to the command; the address may hold a password.
_NOT_PASSED = ("master", "conf", "submit", "registry_url")


def is_submitted() -> bool:
    """Whether spark-submit started this process."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def submit_line(context: click.Context, master: str | None, conf: Mapping[str, str]) -> list[str]:
    """The words of the line that submits this command, with every option that it was given or has by default."""
    import pyspark

    from tiltyard import cli

    words = [str(Path(pyspark.__file__).parent / "bin" / "spark-submit")]
    if master is not None:
        words += ["--master", master]
    for key, value in conf.items():
        words += ["--conf", f"{key}={value}"]
    words += [str(Path(cli.__file__).with_name("__main__.py")), str(context.info_name)]
    for option in context.command.params:
        given = context.params.get(option.name or "")
        if option.name not in _NOT_PASSED:
            words += _option_words(option.opts[0], given)
    return words


def submit(words: list[str], *, registry_url: str | None) -> int:
    """Prints the line, runs it, and gives its exit status: in client mode that of the command itself."""
    import pyspark

    from tiltyard.java import java_home

    click.echo(shlex.join(words), err=True)
    env = os.environ | {"SPARK_HOME": str(Path(pyspark.__file__).parent), "JAVA_HOME": str(java_home())}
    env.setdefault("PYSPARK_PYTHON", sys.executable)
    # Told to spark-submit already.
    for name in ("TILTYARD_MASTER", "TILTYARD_CONF", "TILTYARD_SUBMIT"):
        env.pop(name, None)
    if registry_url is not None:
        env["TILTYARD_REGISTRY_URL"] = registry_url
    return subprocess.run(words, check=False, env=env).returncode  # noqa: S603 - our own words, no shell


def _option_words(flag: str, value: Any) -> list[str]:
    if value is None or value is False or value == []:
        return []
    if value is True:
        return [flag]
    if isinstance(value, list | tuple):
        return [f"{flag}={','.join(map(str, value))}"]
    return [f"{flag}={value}"]
