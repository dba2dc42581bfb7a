"""What is served while it is attacked: models of every kind of signature, and where they answer."""

from random import Random

from tests.serving import saved_models

MODELS = {
    "default": saved_models.typed,
    "nested": saved_models.nested,
    "squares": saved_models.squares,
    "tensors": saved_models.named_tensors,
    "params": saved_models.parametrised,
    "free": saved_models.probabilities,
}
NAMES = [
    *("integer", "long", "float", "double", "boolean", "string", "binary", "datetime", "numbers", "obj", "sizes"),
    *("a", "b", "c", "x", "y", "n", "rate", "stop", *saved_models.IRIS),
]


def path_of_invocations(rng: Random) -> str:
    """A path at which one of the models answers."""
    model = rng.choice(list(MODELS))
    return "/invocations" if model == "default" else f"/serving-endpoints/{model}/invocations"


def path_of_v1(rng: Random) -> str:
    """The same in KServe's V1 protocol."""
    return f"/v1/models/{rng.choice(list(MODELS))}:predict"


def path_of_v2(rng: Random) -> str:
    """The same in the Open Inference Protocol."""
    return f"/v2/models/{rng.choice(list(MODELS))}/infer"
