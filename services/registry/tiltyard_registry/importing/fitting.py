"""Whether what is to be imported fits into our columns, found out before anything is written."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Integer, String, Table, Text, cast, func, select

from tiltyard.errors import InvalidParameterValue
from tiltyard_registry.importing.listed import listed
from tiltyard_registry.importing.source import MLflowDatabase
from tiltyard_registry.rules.experiments import MAX_EXPERIMENT_ID


class Fitted(NamedTuple):
    """A table of theirs whose columns are copied into ours: our names, to theirs."""

    theirs: str
    ours: Table
    columns: Mapping[str, str]


async def check_fit(source: MLflowDatabase, tables: Iterable[Fitted]) -> None:
    """Passes when every value fits. Each table is read once, within their database.

    Raises:
        InvalidParameterValue: some do not; the message lists columns and values.
    """
    found: list[str] = []
    for fitted in tables:
        if source.has(fitted.theirs):
            found += await _misfits(source, fitted)
    if found:
        raise InvalidParameterValue(
            f"The source holds values that do not fit here. Nothing was written:\n  {listed(found)}"
        )


async def _misfits(source: MLflowDatabase, fitted: Fitted) -> list[str]:
    table = source.table(fitted.theirs)
    bounded = [(ours, theirs) for ours, theirs in fitted.columns.items() if theirs in table.c]
    asked: list[ColumnElement[Any]] = []
    for ours, theirs in bounded:
        asked += _extremes(fitted.ours.c[ours].type, table.c[theirs])
    if not asked:
        return []
    ((*values,),) = await source.all(select(*asked).select_from(table).where(source.within(table)))
    found = []
    for ours, theirs in bounded:
        count = len(_extremes(fitted.ours.c[ours].type, table.c[theirs]))
        extremes, values = values[:count], values[count:]
        if reason := _reason(fitted.ours.c[ours].type, ours, extremes):
            found.append(f"{fitted.theirs}.{theirs}: {reason}")
    return found


def _extremes(kind: Any, column: Any) -> list[ColumnElement[Any]]:
    if isinstance(kind, Integer):
        return [func.min(column), func.max(column)]
    if isinstance(kind, String) and kind.length:
        return [func.max(func.length(cast(column, Text)))]
    return []


def _reason(kind: Any, name: str, extremes: list[Any]) -> str | None:
    present = [value for value in extremes if value is not None]
    if isinstance(kind, String):
        longest = max(present, default=0)
        return f"{longest} characters, at most {kind.length} fit" if kind.length and longest > kind.length else None
    least, most = -(2**63), 2**63 - 1
    if not isinstance(kind, BigInteger):
        least, most = -(2**31), 2**31 - 1
    if name == "experiment_id":
        least, most = 0, min(most, MAX_EXPERIMENT_ID)
    for value in present:
        if not isinstance(value, int):
            return f"{str(value)[:40]!r} is not a whole number"
        if not least <= value <= most:
            return f"{value} is not between {least} and {most}"
    return None
