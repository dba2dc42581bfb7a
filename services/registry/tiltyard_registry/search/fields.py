"""What can be searched and sorted, as data: one row per attribute.

A new filter attribute is one more `Field` in its scope. Grammar, check and compiler only read the rows.

Source: mlflow/utils/search_utils.py, the `Search…Utils` classes, for keys, spellings and operators. Wider than
there: IN for every text, IS NULL for everything that hangs below a row.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, case, func, null

from tiltyard.names import DEFAULT_CATALOG, DEFAULT_SCHEMA
from tiltyard_registry.rules.prompts import PROMPT_TAG
from tiltyard_registry.search.field import Child, Field, Kind, Scope, Sort
from tiltyard_registry.search.trigrams import Trigrams
from tiltyard_registry.tables import columns, experiments, models, runs

DATASET_CONTEXT_TAG = "mlflow.data.context"


def _spellings(**entities: str) -> dict[str, str]:
    return {word: entity for entity, words in entities.items() for word in words.split()}


_TEXT = ("=", "!=", "LIKE", "ILIKE", "IN", "NOT IN")
_NAME = ("=", "!=", "IN", "NOT IN")
_NUMERIC = ("=", "!=", "<", "<=", ">", ">=")
_PRESENCE = ("IS NULL", "IS NOT NULL")


def _text(key: str, column: ColumnElement[Any], *aliases: str, orderable: bool = True) -> Field:
    return Field("attribute", key, Kind.TEXT, _TEXT, column, aliases, orderable)


def _id(key: str, column: ColumnElement[Any]) -> Field:
    return Field("attribute", key, Kind.NAME, _NAME, column)


def _number(key: str, column: ColumnElement[Any], *aliases: str, kind: Kind = Kind.NUMBER) -> Field:
    return Field("attribute", key, kind, _NUMERIC, column, aliases)


def _order_only(key: str, column: ColumnElement[Any], *aliases: str) -> Field:
    return Field("attribute", key, Kind.WHOLE, (), column, aliases)


def _pairs(table: Table, **link: ColumnElement[Any]) -> Child:
    """What hangs below a row by those of the table's columns that say which row that is."""
    return Child(table, and_(*(table.c[name] == of for name, of in link.items())), table.c.value, key=table.c.key)


def _indexed(table: Table, run: ColumnElement[Any]) -> Child:
    return _pairs(table, run=run)._replace(head=columns.value_head(table), row=table.c.run)


def _marks_of_prompt(tags: Child, table: Table) -> Child:
    marked = and_(tags.link, table.c.key == PROMPT_TAG, table.c.value == "true")
    return tags._replace(link=marked, key=None)


def _texts(entity: str, pairs: Child, *, orderable: bool = False) -> Field:
    return Field(entity, None, Kind.TEXT, (*_TEXT, *_PRESENCE), pairs, orderable=orderable)


def _metrics(points: Child, functions: Mapping[str, Child] | None = None) -> Field:
    return Field("metric", None, Kind.NUMBER, (*_NUMERIC, *_PRESENCE), points, functions=functions or {})


def _model_name(column: ColumnElement[Any]) -> Field:
    return replace(_text("name", column), qualifier=f"{DEFAULT_CATALOG}.{DEFAULT_SCHEMA}.")


def _dataset(key: str, child: Child) -> Field:
    return Field("dataset", key, Kind.TEXT, _TEXT, child, orderable=False)


# --- runs -------------------------------------------------------------------------------------------------

_run = runs.runs.c
_point_of_run = runs.metrics.c
_latest = runs.latest_metrics.c
_newest = _pairs(runs.latest_metrics, run=_run.id)._replace(is_nan=_latest.is_nan, row=_latest.run)
_history = _pairs(runs.metrics, run=_run.id)._replace(is_summed_up=True)
_number_or_null = case((_point_of_run.is_nan, null()), else_=_point_of_run.value)
_input_tag = runs.dataset_input_tags.c
_inputs = runs.dataset_inputs.join(runs.datasets, runs.dataset_inputs.c.dataset_id == runs.datasets.c.id)
_input_of_run = runs.dataset_inputs.c.run == _run.id
_context_of_run = and_(_input_tag.run == _run.id, _input_tag.key == DATASET_CONTEXT_TAG)

_run_names = Trigrams(
    _run.id, _run.run_name, runs.TRIGRAMS, runs.run_name_trigrams, runs.run_names_indexed, runs.run_names_stale
)

RUNS = Scope(
    name="runs",
    tables=(runs.runs,),
    entities=_spellings(
        attribute="attribute attributes attr run",
        metric="metric metrics",
        parameter="parameter parameters param params",
        tag="tag tags",
        dataset="dataset datasets",
    ),
    fields=(
        _text("run_id", _run.run_id),
        replace(_text("run_name", _run.run_name, "run name", "Run name", "Run Name"), trigrams=_run_names),
        _text("user_id", _run.user_id),
        _text("status", _run.status),
        _text("artifact_uri", _run.artifact_uri),
        _number("start_time", _run.start_time, "created", "Created"),
        _number("end_time", _run.end_time),
        _metrics(
            _newest,
            {
                "MIN": _history._replace(value=func.min(_number_or_null)),
                "MAX": _history._replace(value=func.max(_number_or_null)),
                "LATEST": _newest,
            },
        ),
        _texts("parameter", _indexed(runs.params, run=_run.id), orderable=True),
        _texts("tag", _indexed(runs.run_tags, run=_run.id), orderable=True),
        _dataset("name", Child(_inputs, _input_of_run, runs.datasets.c.name)),
        _dataset("digest", Child(_inputs, _input_of_run, runs.datasets.c.digest)),
        _dataset("context", Child(runs.dataset_input_tags, _context_of_run, _input_tag.value)),
    ),
    default_order=(),
    tie_break=(Sort("start_time", False), Sort("run_id", True)),
    default_page=1000,
    max_page=50_000,
)

# --- experiments ------------------------------------------------------------------------------------------
_experiment = experiments.experiments.c

EXPERIMENTS = Scope(
    name="experiments",
    tables=(experiments.experiments,),
    entities=_spellings(attribute="attribute", tag="tag tags"),
    fields=(
        _text("name", _experiment.name),
        _id("experiment_id", _experiment.experiment_id),
        _number("creation_time", _experiment.creation_time, kind=Kind.WHOLE),
        _number("last_update_time", _experiment.last_update_time, kind=Kind.WHOLE),
        _texts("tag", _pairs(experiments.experiment_tags, experiment_id=_experiment.experiment_id)),
    ),
    default_order=(Sort("creation_time", False), Sort("experiment_id", True)),
    tie_break=(Sort("experiment_id", False),),
    default_page=1000,
    max_page=50_000,
)

# --- registered models ------------------------------------------------------------------------------------
_model = models.registered_models.c
_model_tags = _pairs(models.registered_model_tags, registered_model_id=_model.id)

REGISTERED_MODELS = Scope(
    name="registered models",
    tables=(models.registered_models,),
    entities=_spellings(attribute="attribute", tag="tag tags"),
    fields=(
        _model_name(_model.name),
        _order_only("last_updated_timestamp", _model.last_updated_timestamp, "timestamp"),
        _texts("tag", _model_tags),
    ),
    default_order=(),
    tie_break=(Sort("name", True),),
    prompts=_marks_of_prompt(_model_tags, models.registered_model_tags),
    default_page=100,
    max_page=1000,
)

# --- model versions ---------------------------------------------------------------------------------------
_version = models.model_versions.c
_tags_of_version = _pairs(
    models.model_version_tags, registered_model_id=_version.registered_model_id, version=_version.version
)

MODEL_VERSIONS = Scope(
    name="model versions",
    # The searching statement joins the two: the name is the model's.
    tables=(models.model_versions, models.registered_models),
    entities=_spellings(attribute="attribute", tag="tag tags"),
    fields=(
        _model_name(_model.name),
        replace(_text("run_id", _version.run_id, orderable=False), null_is_empty=True),
        _text("source_path", _version.source, orderable=False),
        _number("version_number", _version.version, kind=Kind.COUNT),
        _order_only("creation_timestamp", _version.creation_timestamp),
        _order_only("last_updated_timestamp", _version.last_updated_timestamp),
        _texts("tag", _tags_of_version),
    ),
    default_order=(Sort("last_updated_timestamp", False),),
    tie_break=(Sort("name", True), Sort("version_number", False)),
    # Each by its own tag: one version that is tagged hides no other.
    prompts=_marks_of_prompt(_tags_of_version, models.model_version_tags),
    # Source: mlflow/store/model_registry/__init__.py, tag v3.17.2.
    default_page=200_000,
    max_page=200_000,
)

# --- logged models ----------------------------------------------------------------------------------------
_logged = experiments.logged_models.c
_point = experiments.logged_model_metrics.c

LOGGED_MODELS = Scope(
    name="logged models",
    tables=(experiments.logged_models,),
    entities=_spellings(attribute="attributes", metric="metrics", parameter="params", tag="tags"),
    fields=(
        _text("name", _logged.name),
        _text("model_id", _logged.model_id),
        _text("model_type", _logged.model_type),
        replace(_text("status", _logged.status), prefix="LOGGED_MODEL_"),
        _text("source_run_id", _logged.source_run_id),
        _id("experiment_id", _logged.experiment_id),
        _number("creation_timestamp", _logged.creation_timestamp_ms, "creation_time"),
        _number("last_updated_timestamp", _logged.last_updated_timestamp_ms, "last_updated_time"),
        _metrics(
            _pairs(experiments.logged_model_metrics, model_id=_logged.model_id)._replace(
                is_nan=_point.is_nan, recency=(_point.timestamp.desc(), _point.step.desc(), _point.run_id)
            )
        ),
        _texts("parameter", _pairs(experiments.logged_model_params, model_id=_logged.model_id)),
        _texts("tag", _pairs(experiments.logged_model_tags, model_id=_logged.model_id)),
    ),
    default_order=(),
    tie_break=(Sort("creation_timestamp", False), Sort("model_id", True)),
    default_page=50,
    max_page=50_000,
)

SCOPES = (RUNS, EXPERIMENTS, REGISTERED_MODELS, MODEL_VERSIONS, LOGGED_MODELS)
