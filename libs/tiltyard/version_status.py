"""How far the registration of a model version is, as the protocol spells it."""

PENDING = "PENDING_REGISTRATION"
READY = "READY"
FAILED = "FAILED_REGISTRATION"
