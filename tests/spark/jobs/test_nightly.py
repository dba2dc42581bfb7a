"""The scheduling examples agree with the command: every flag in them exists, and they are what they say they are."""

import ast
import re

import yaml

from tests.house.test_imports import ROOT
from tiltyard.cli.score import score

NIGHTLY = ROOT / "deploy" / "nightly"


def parsed(arguments: list[str]) -> dict[str, object]:
    """The arguments as the command reads them; a flag that it does not have is an error."""
    return score.make_context("score", list(arguments)).params


def test_the_cron_job_submits_arguments_that_exist() -> None:
    """The manifest is a CronJob whose container runs spark-submit with our command and flags that it has."""
    manifest = yaml.safe_load((NIGHTLY / "cronjob.yaml").read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == ("batch/v1", "CronJob")
    assert re.fullmatch(r"(\S+ ){4}\S+", manifest["spec"]["schedule"])
    (container,) = manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["spark-submit"]
    submitted = container["args"].index("score")
    assert container["args"][submitted - 1].endswith("tiltyard/cli/__main__.py")
    assert all(argument.startswith(("--master=", "--deploy-mode=", "--conf=spark."))
               for argument in container["args"][: submitted - 1])  # fmt: skip
    assert parsed(container["args"][submitted + 1 :])["mode"] == "overwrite"
    known = {option.envvar for option in score.params} | {"TILTYARD_CACHE_DIR", "POD_IP"}
    assert {entry["name"] for entry in container["env"]} <= known


def test_the_dag_runs_arguments_that_exist() -> None:
    """The DAG file is Python, and the command in it parses."""
    tree = ast.parse((NIGHTLY / "airflow_dag.py").read_text())
    compile(tree, "airflow_dag.py", "exec")
    (command,) = (
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List)
    )  # fmt: skip
    words = [eval(compile(ast.Expression(word), "word", "eval"), {"ds": "2026-01-01"}) for word in command.elts]
    assert words[:2] == ["tiltyard", "score"]
    assert parsed(words[2:])["errors"] == "column"
