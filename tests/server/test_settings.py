"""Settings say once what they are; bounds, options and what a worker is told follow from that."""

import msgspec
import pytest

from tiltyard.errors import InvalidParameterValue
from tiltyard.server.process import _decode_path, work
from tiltyard.server.settings import ConnectionTimeouts, Drain, ServiceSettings, settings_of
from tiltyard_registry.settings import RegistrySettings
from tiltyard_serving.settings import ServingSettings

SERVICES = (RegistrySettings, ServingSettings)
BOUNDED = [
    (kind, name, below)
    for kind in SERVICES
    for name, setting in settings_of(kind).items()
    if (below := setting.bounds.gt if setting.bounds.gt is not None else setting.bounds.ge) is not None
]


@pytest.mark.parametrize(
    ("kind", "name", "below"), BOUNDED, ids=[f"{kind.__name__}.{name}" for kind, name, _ in BOUNDED]
)
def test_no_setting_goes_below_its_bound(kind: type[ServiceSettings], name: str, below: float) -> None:
    """Whoever makes settings, a command, a test or a worker's parent, is told which one is out of its bounds."""
    with pytest.raises(InvalidParameterValue, match=f"Setting '{name}' must be .*, got {below - 1}"):
        kind(**{name: below - 1})
    with pytest.raises(msgspec.ValidationError, match=name):
        msgspec.json.decode(msgspec.json.encode({name: below - 1}), type=kind, dec_hook=_decode_path)


@pytest.mark.parametrize("name", ["payload_log_sample", "trial_max_error_rate", "port", "workers"])
def test_no_setting_goes_over_its_bound(name: str) -> None:
    """The message says from where to where a value may go."""
    with pytest.raises(InvalidParameterValue, match=f"'{name}' must be from [01] to [0-9]+, got 70000"):
        ServingSettings(**{name: 70_000})


@pytest.mark.parametrize("kind", SERVICES)
def test_a_worker_is_told_what_its_parent_was(kind: type[ServiceSettings]) -> None:
    """All settings come through the JSON that a worker reads."""
    told = kind(host="::1", workers=3, allowed_hosts=("a", "b"))
    job = work("service", "module:factory", told, Drain(), ConnectionTimeouts())
    assert msgspec.json.decode(job.settings, type=kind, dec_hook=_decode_path) == told
