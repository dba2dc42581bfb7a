"""The list of divergences names tests that exist."""

import re
from pathlib import Path

TESTS = Path(__file__).parent.parent


def test_every_divergence_is_pinned_by_a_test() -> None:
    """Each line of the list names a test function, or a file of tests, of this suite."""
    listed = re.findall(
        r"`(test_\w+(?:\.py)?)` \|$", (TESTS / "conformance" / "DIVERGENCES.md").read_text(), re.MULTILINE
    )
    lines = re.findall(r"^\| (?!MLflow|---)", (TESTS / "conformance" / "DIVERGENCES.md").read_text(), re.MULTILINE)
    # Two rooms may have a file of the same name.
    sources = {path: path.read_text() for path in TESTS.rglob("test_*.py")}
    files = {path.name for path in sources}
    everything = "\n".join(sources.values())
    unknown = [name for name in listed if name not in files and f"def {name}(" not in everything]
    assert unknown == []
    assert len(listed) == len(lines) > 20
