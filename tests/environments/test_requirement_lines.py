"""What a model's requirements ask for, with every file that they name."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tiltyard.environments.build import environment
from tiltyard.environments.requirement_lines import RequirementLines
from tiltyard.environments.requirements import EnvironmentSpec, of_model
from tiltyard.errors import InvalidParameterValue

MLMODEL = "flavors: {python_function: {loader_module: own}}\n"


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """A model directory with these files."""
    for name, text in {"MLmodel": MLMODEL, **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    "line",
    [
        "./wheels/own.whl",
        "wheels/own.whl",
        "file:wheels/own.whl",
        "own @ file:./wheels/own.whl",
        "own[extra] @ file:wheels/own.whl ; python_version > '3'",
        "-e ./wheels",
        "--editable=./wheels",
        "--find-links wheels",
        "-f ./wheels",
        "-r wheels/own.whl",
        "-rwheels/own.whl",
        "-c wheels/own.whl",
        "--constraint=wheels/own.whl",
        ".",
    ],
)
def test_a_file_that_a_line_names_is_part_of_what_is_asked_for(tmp_path: Path, line: str) -> None:
    """Models with the same line and other bytes behind it ask for other things; with the same bytes for the same."""
    digests = []
    for name, content in (("1", "numpy==1"), ("2", "numpy==2"), ("3", "numpy==1")):
        folder = write(tmp_path / name, {"wheels/own.whl": content})
        digests.append(EnvironmentSpec("3.11", RequirementLines(folder, [line])).digest)
    assert digests[0] == digests[2] != digests[1]


def test_lines_are_read_as_they_are_written(tmp_path: Path) -> None:
    """Comments, continued lines, nested files and constraints come together; what names no file stays as it is."""
    folder = write(
        tmp_path,
        {
            "requirements.txt": "-c constraints.txt\n# a comment\nnumpy \\\n  >= 1 # another\n-r more/other.txt\n",
            "constraints.txt": "pandas<3\n",
            "more/other.txt": "--index-url https://host/simple\nscipy @ https://host/scipy.whl\n-c limits.txt\n",
            "more/limits.txt": "scipy<2\n",
        },
    )
    lines = RequirementLines(folder, ["-r requirements.txt"])
    assert lines.requirements == ["numpy >= 1", "--index-url https://host/simple", "scipy @ https://host/scipy.whl"]
    assert lines.constraints == ["pandas<3", "scipy<2"]


def test_constraints_say_nothing_of_what_is_absent(tmp_path: Path) -> None:
    """The server's packages will do when what is asked for is there and no constraint speaks against it."""
    here = {"numpy": "2.0", "pandas": "2.2"}

    def met(requirement: str, constraint: str) -> bool:
        write(tmp_path, {"constraints.txt": constraint})
        return RequirementLines(tmp_path, [requirement, "-c constraints.txt"]).are_met_by(here.get)

    assert met("numpy>=1", "absent<3")
    assert met("numpy>=1", "pandas<3")
    assert not met("numpy>=1", "pandas<2")
    assert not met("absent", "pandas<3")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"python_env.yaml": "python: 3.11.7\ndependencies: {a: b}\n"}, "list of lines"),
        ({"python_env.yaml": "dependencies: [{pip: [numpy]}]\n"}, "list of lines"),
        ({"python_env.yaml": "python: [[[1]]]\n"}, "no version of Python: 'list'"),
        ({"python_env.yaml": "[]"}, "must hold a mapping"),
        ({"python_env.yaml": "a: &a [x,x]\nb: &b [" + "*a," * 9000 + "]\nc: [" + "*b," * 9 + "]\n"}, "stands for more"),
        ({"requirements.txt": "-r requirements.txt\n" * 3}, "name one another"),
        ({"requirements.txt": "numpy\n" * 10_001}, "more than 10000 lines"),
        ({"requirements.txt": "#" * 1_100_000}, "larger than"),
        ({"requirements.txt": "-c ../constraints.txt\n"}, "Invalid path"),
        ({"requirements.txt": "-c constraints.txt\n"}, "'constraints.txt', which it does not hold"),
        ({"requirements.txt": "./own.whl\n"}, "'./own.whl', which it does not hold"),
        ({"requirements.txt": "../own.whl\n"}, "Invalid path"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(tmp_path: Path, files: dict[str, str], said: str) -> None:
    """A model whose files ask for too much, or for what it does not hold, is refused with the reason."""
    with pytest.raises(InvalidParameterValue, match=said):
        of_model(write(tmp_path / "model", files))


def wheel(path: Path, number: int) -> None:
    """A package `tydep` with that number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    about = "tydep-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("tydep.py", f"NUMBER = {number}\n")
        file.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: tydep\nVersion: 1.0\n")
        file.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{about}/RECORD", "")


def test_versions_with_wheels_of_one_name_get_their_own(tmp_path: Path) -> None:
    """Each environment has the package beside its model, within its constraints; no file of a model configures uv."""
    numbers = []
    for number in (1, 2):
        folder = write(
            tmp_path / str(number),
            {
                "requirements.txt": "-c constraints.txt\n./wheels/tydep-1.0-py3-none-any.whl\n",
                "constraints.txt": "numpy<1\n",
                "uv.toml": "this is no configuration of uv",
            },
        )
        wheel(folder / "wheels" / "tydep-1.0-py3-none-any.whl", number)
        built = environment(of_model(folder), tmp_path / "cache")
        [package] = built.glob("lib/python*/site-packages/tydep.py")
        numbers.append(package.read_text())
    assert numbers == ["NUMBER = 1\n", "NUMBER = 2\n"]


def test_environments_of_another_user_are_not_run(tmp_path: Path) -> None:
    """A link in the place of the folder of environments is refused before anything in it is run."""
    folder = write(tmp_path / "model", {"requirements.txt": "no-such-package-at-all\n"})
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "environments").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidParameterValue, match="is a link"):
        environment(of_model(folder), tmp_path / "cache")
