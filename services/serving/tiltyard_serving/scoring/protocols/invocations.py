"""MLflow's scoring protocol, and KServe's V1: its requests hold `instances` or `inputs` too, and refusals differ."""

from tiltyard.pyfunc.payload.decoder import Body
from tiltyard_serving.models.loaded_model import LoadedModel
from tiltyard_serving.scoring.protocols.open_inference import refusal
from tiltyard_serving.scoring.protocols.protocol import Decoded, ScoringProtocol
from tiltyard_serving.scoring.replies import error_reply
from tiltyard_serving.scoring.request_head import RequestHead


def _at_once(model: LoadedModel, body: Body, head: RequestHead) -> Decoded | None:
    payload = model.decode_at_once(body, head.content_type)
    return None if payload is None else (payload, head.format)


def _decode(model: LoadedModel, body: Body, head: RequestHead) -> Decoded:
    return model.decode(body, head.content_type), head.format


INVOCATIONS = ScoringProtocol(_at_once, _decode, error_reply)
KSERVE_V1 = INVOCATIONS._replace(refusal=refusal)
