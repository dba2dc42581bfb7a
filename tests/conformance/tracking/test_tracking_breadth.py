"""What a data scientist's notebook does without thinking: autologging, projects, tables and dictionaries."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def test_autologging_a_grid_search_makes_child_runs(mlflow: ModuleType, experiment: Any) -> None:
    """One parent with the best params, one nested run per candidate, all of them finished."""
    from sklearn.datasets import load_iris
    from sklearn.model_selection import GridSearchCV
    from sklearn.tree import DecisionTreeClassifier

    mlflow.sklearn.autolog(log_models=False, silent=True)
    try:
        features, labels = load_iris(return_X_y=True)
        search = GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2]}, cv=2)
        with mlflow.start_run() as parent:
            search.fit(features, labels)
    finally:
        mlflow.sklearn.autolog(disable=True)
    found = mlflow.search_runs([experiment.experiment_id])
    nested = found[found["tags.mlflow.parentRunId"] == parent.info.run_id]
    assert len(found) == 3 and set(nested["params.max_depth"]) == {"1", "2"}
    assert set(found["status"]) == {"FINISHED"} and nested["metrics.mean_test_score"].notna().all()
    top = mlflow.get_run(parent.info.run_id).data
    assert top.params["best_max_depth"] == str(search.best_params_["max_depth"])
    assert top.metrics["best_cv_score"] == pytest.approx(search.best_score_)


def test_tables_and_dictionaries_come_back(mlflow: ModuleType, experiment: Any) -> None:
    """A table grows by appending and is read as a frame over runs; a dictionary is a JSON file."""
    with mlflow.start_run() as run:
        mlflow.log_table({"question": ["a"], "answer": ["b"]}, "table.json")
        mlflow.log_table({"question": ["c"], "answer": ["d"]}, "table.json")
        mlflow.log_dict({"depth": 3}, "options/tree.json")
    table = mlflow.load_table("table.json", run_ids=[run.info.run_id], extra_columns=["run_id"])
    assert list(table["question"]) == ["a", "c"] and set(table["run_id"]) == {run.info.run_id}
    assert mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/options/tree.json") == {"depth": 3}
    assert len(mlflow.load_table("table.json")) == 2
    assert experiment.experiment_id == run.info.experiment_id


def test_figures_and_images_are_files(mlflow: ModuleType, client: Any, experiment: Any, tmp_path: Path) -> None:
    """A matplotlib figure and an array are stored as the pictures that they show, over several steps if asked to."""
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([0, 1], [1, 0])
    with mlflow.start_run() as run:
        mlflow.log_figure(figure, "plots/line.png")
        mlflow.log_image(np.zeros((2, 2, 3), dtype="uint8"), "black.png")
        mlflow.log_image(np.zeros((2, 2, 3), dtype="uint8"), key="black", step=3)
        mlflow.flush_artifact_async_logging()
    for path in ("plots/line.png", "black.png"):
        local = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path=path, dst_path=str(tmp_path))
        assert Path(local).read_bytes().startswith(b"\x89PNG")
    steps = [Path(file.path).name for file in client.list_artifacts(run.info.run_id, "images")]
    assert len(steps) == 2 and all(name.startswith("black") and "step" in name for name in steps)


def test_a_local_project_runs(mlflow: ModuleType, experiment: Any, tmp_path: Path) -> None:
    """The project's process logs into the run that was made for it, with its entry point's params."""
    project = tmp_path / "project"
    project.mkdir()
    command = f"{sys.executable} train.py {{alpha}}"
    (project / "MLproject").write_text(
        f"name: tiny\nentry_points:\n  main:\n    parameters:\n      alpha: float\n    command: {command!r}\n"
    )
    (project / "train.py").write_text("import sys, mlflow\nmlflow.log_metric('loss', float(sys.argv[1]) * 2)\n")
    done = mlflow.projects.run(
        str(project), parameters={"alpha": 0.5}, env_manager="local", experiment_id=experiment.experiment_id
    )
    run = mlflow.get_run(done.run_id)
    assert (run.info.status, run.data.metrics, run.data.params) == ("FINISHED", {"loss": 1.0}, {"alpha": "0.5"})
    assert run.data.tags["mlflow.source.type"] == "PROJECT"
