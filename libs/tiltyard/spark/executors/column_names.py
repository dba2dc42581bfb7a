"""The names of columns in Spark's words, and which of them are the model's, where they are not spelled alike."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.data_types import Name

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def match_names(have: Sequence[str], wanted: Sequence[Name], *, ignore_case: bool) -> list[Name]:
    """For each name in `have` the one in `wanted` that it stands for; a name that stands for none stays as it is.

    Spark's names are texts, and ignore case unless the session says otherwise. A model that was fitted on a bare
    array has integers for names. What is spelled exactly goes first.

    Raises:
        InvalidParameterValue: two names stand for the same wanted one.
    """
    if list(have) == list(wanted):
        return list(have)
    if wanted and all(isinstance(name, int) for name in wanted):
        numbers = {str(name): name for name in wanted}
        return [numbers.get(name, name) for name in have]
    if not ignore_case:
        return list(have)
    missing = {str(name).lower(): name for name in wanted if name not in have}
    known = set(wanted)
    found: list[Name] = [name if name in known else missing.get(name.lower(), name) for name in have]
    for name in missing.values():
        if found.count(name) > 1:
            alike = [own for own, meant in zip(have, found, strict=True) if meant == name]
            raise InvalidParameterValue(f"The columns {alike} both could be the model's '{name}'. Rename one of them.")
    return found


def ignores_case(spark: "SparkSession") -> bool:
    """Whether names in this session are the same whatever their case."""
    return str(spark.conf.get("spark.sql.caseSensitive")).lower() != "true"


def escaped(name: str) -> str:
    """A column's name in Spark's words, whatever characters it has."""
    return f"`{name.replace('`', '``')}`"
