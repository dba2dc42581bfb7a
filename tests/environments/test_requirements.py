"""What a model asks for, read from the files beside it."""

from pathlib import Path

from tests.environments.test_requirement_lines import write
from tiltyard.environments.requirements import of_model, own_python, requirements_file, specifiers


def test_lines_are_read_and_what_pip_alone_understands_is_passed_over() -> None:
    """Names are in their normal form; options, paths, URLs and what does not hold here are left out."""
    lines = ["mlflow==3.17.2", "Scikit_Learn[all] == 1.9.1", "numpy>=2,<3  # why", "-r other.txt", "./wheel.whl", "",
             "tomli==2; python_version < '3.0'", "own @ https://host/own.whl"]  # fmt: skip
    found = specifiers(lines)
    assert list(map(str, found)) == ["mlflow==3.17.2", "scikit-learn==1.9.1", "numpy>=2,<3"]
    assert [line.pinned for line in found] == ["3.17.2", "1.9.1", None]


def test_a_model_without_such_files_asks_for_nothing(tmp_path: Path) -> None:
    """It gets the Python of whoever asks; a file that is no text has no lines."""
    asked = of_model(write(tmp_path, {}))
    assert (asked.python, asked.lines.requirements) == (own_python(), [])
    assert requirements_file(tmp_path) == []
    (tmp_path / "requirements.txt").write_bytes(b"\xff")
    assert requirements_file(tmp_path) == []


def test_what_python_env_says_comes_before_the_requirements(tmp_path: Path) -> None:
    """Its Python, and its lines; MLflow can be left out, and what else there is tells environments apart."""
    files = {"python_env.yaml": "python: 3.12.1\ndependencies: [mlflow==3.1, numpy]\n", "requirements.txt": "pandas\n"}
    asked = of_model(write(tmp_path, files))
    asked.lines.leave_out_mlflow()
    assert (asked.python, asked.lines.requirements) == ("3.12", ["numpy"])
    assert asked.digest != asked._replace(python="3.11").digest != asked._replace(beside=("x",)).digest
