"""The series of versions: those in use stay, and those that were replaced long ago go, without a sum that falls."""

from tiltyard_serving.models.meter import ModelMeter
from tiltyard_serving.operations.metrics import EVICTED, Telemetry

VERSIONS = 100
NAME = "main.clinic.triage"


def rows(telemetry: Telemetry) -> dict[str, float]:
    """How many rows each version has predicted, as it is shown."""
    return {
        version: value
        for (sample, (model, version, *_)), value in telemetry.samples().items()
        if sample == "tiltyard_serving_rows_total" and model == NAME
    }


def test_what_is_shown_does_not_grow_with_each_promotion() -> None:
    """The last replaced versions can be compared, one that is in use stays, and all rows are still counted."""
    telemetry = Telemetry()
    serving = ModelMeter(telemetry, NAME, "champion")
    shown = []
    for version in range(VERSIONS):
        replaced = ModelMeter(telemetry, NAME, str(version))
        telemetry.rows.labels(NAME, str(version)).inc()
        replaced.close(forget=False)
        shown.append(len(rows(telemetry)))
    found = rows(telemetry)
    assert max(shown) == shown[-1] < VERSIONS / 2
    assert {"champion", EVICTED, str(VERSIONS - 1), str(VERSIONS - 10)} <= found.keys()
    assert sum(found.values()) == VERSIONS
    serving.close(forget=False)


def test_a_version_that_comes_back_keeps_what_it_counted() -> None:
    """After a roll-back its numbers go on, however many others go meanwhile."""
    telemetry = Telemetry()
    ModelMeter(telemetry, NAME, "1").close(forget=False)
    telemetry.rows.labels(NAME, "1").inc(7)
    again = ModelMeter(telemetry, NAME, "1")
    for version in range(2, VERSIONS):
        ModelMeter(telemetry, NAME, str(version)).close(forget=False)
    assert rows(telemetry)["1"] == 7
    again.close(forget=False)
