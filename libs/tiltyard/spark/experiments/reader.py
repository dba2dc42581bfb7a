"""Reads the runs of experiments, each task those of a part of the time.

A run begins once and never at another time, so parts that do not overlap and cover all of time lose no run and
double none, whatever is logged while they are read; within a part, page follows page by the registry's tokens.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, cast

from pyspark.sql.datasource import DataSourceReader, Filter, InputPartition

from tiltyard.client import Client
from tiltyard.client.address import Credentials
from tiltyard.spark.experiments.filters import clause_of
from tiltyard.wire.mlflow.runs import Run

PAGE_RUNS = 1000

Row = tuple[Any, ...]

_ALTERNATIVES = re.compile(r"\bor\b", re.IGNORECASE)


@dataclass(frozen=True)
class Question:
    """Which runs are asked for, of which registry; the names become ids when the parts are planned."""

    url: str
    experiment_ids: tuple[str, ...]
    credentials: Credentials | None = None
    filter: str | None = None
    view_type: str = "ACTIVE_ONLY"
    partitions: int = 8
    experiment_names: tuple[str, ...] = ()

    def narrowed(self, *clauses: str) -> "Question":
        """The same, of the runs alone that the clauses hold for too."""
        asked = self.filter or ""
        if clauses and _ALTERNATIVES.search(asked):
            # Without a need there are none: MLflow's own language has no parentheses, and no OR either.
            asked = f"({asked})"
        return replace(self, filter=" AND ".join(filter(None, [asked, *clauses])) or None)


class Part(InputPartition):
    """The runs of some experiments that began in `[from_ms, until_ms)`; None is without end."""

    def __init__(self, from_ms: int | None, until_ms: int | None, experiment_ids: tuple[str, ...] = ()) -> None:
        super().__init__((from_ms, until_ms))
        self.from_ms = from_ms
        self.until_ms = until_ms
        self.experiment_ids = experiment_ids

    @property
    def clauses(self) -> list[str]:
        """What holds for its runs."""
        bounds = (("attributes.start_time >= ", self.from_ms), ("attributes.start_time < ", self.until_ms))
        return [f"{clause}{bound}" for clause, bound in bounds if bound is not None]


class ExperimentReader(DataSourceReader):
    """The plan on the driver, and the reading of each part by its task."""

    def __init__(self, question: Question) -> None:
        self._question = question

    def pushFilters(self, filters: list[Filter]) -> Iterator[Filter]:
        """Lets the registry leave out what it can; every filter is still Spark's to apply to what comes."""
        clauses = [clause for clause in map(clause_of, filters) if clause is not None]
        self._question = self._question.narrowed(*clauses)
        return iter(filters)

    def partitions(self) -> Sequence[Part]:
        """Parts of equal length between the first and the last run that there is, the outer two without end.

        Raises:
            TiltyardError: the registry refuses: no such experiment, a filter that it cannot read.
            TransportError: the registry does not answer.
        """
        with Client(self._question.url, credentials=self._question.credentials) as client:
            for experiment_id in self._question.experiment_ids:
                client.get_experiment(experiment_id)
            named = [client.get_experiment_by_name(name) for name in self._question.experiment_names]
            ids = tuple(dict.fromkeys((*self._question.experiment_ids, *(found.experiment_id for found in named))))
            asked = replace(self._question, experiment_ids=ids)
            first = _began(client, asked, "ASC")
            last = _began(client, asked, "DESC")
        if first is None or last is None:
            return [Part(None, None, ids)]
        count = min(asked.partitions, last - first + 1)
        bounds = [None, *(first + (last - first + 1) * part // count for part in range(1, count)), None]
        return [Part(*pair, ids) for pair in pairwise(bounds)]

    def read(self, partition: InputPartition) -> Iterator[Row]:
        """The rows of one part."""
        part = cast(Part, partition)
        # What the names meant when the parts were planned.
        question = replace(self._question.narrowed(*part.clauses), experiment_ids=part.experiment_ids)
        token: str | None = None
        with Client(question.url, credentials=question.credentials) as client:
            while True:
                page = client.search_runs(
                    question.experiment_ids,
                    filter=question.filter,
                    run_view_type=question.view_type,
                    # What begins later comes behind, so that also pages counted by offsets stay as they are.
                    order_by=["attributes.start_time ASC"],
                    max_results=PAGE_RUNS,
                    page_token=token,
                )
                yield from map(_row, page.runs)
                token = page.next_page_token
                if not token:
                    return


def _began(client: Client, question: Question, direction: str) -> int | None:
    page = client.search_runs(
        question.experiment_ids,
        filter=question.filter,
        run_view_type=question.view_type,
        order_by=[f"attributes.start_time {direction}"],
        max_results=1,
    )
    return page.runs[0].info.start_time if page.runs else None


def _row(run: Run) -> Row:
    info = run.info
    return (
        info.run_id,
        info.experiment_id,
        {metric.key: float(metric.value) for metric in run.data.metrics},
        {param.key: param.value for param in run.data.params},
        {tag.key: tag.value for tag in run.data.tags},
        _instant(info.start_time),
        _instant(info.end_time),
        info.status,
        info.artifact_uri,
        info.run_name,
        info.user_id,
        info.lifecycle_stage,
    )


def _instant(time_ms: int | None) -> datetime | None:
    return None if time_ms is None else datetime.fromtimestamp(time_ms / 1000, UTC)
