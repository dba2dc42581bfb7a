"""Models by URI: what one names, its verified files, and how a model gets into the registry."""

from tiltyard.cache.cached_model import CachedModel
from tiltyard.models.files import fetch, load_model
from tiltyard.models.logged import LoggedModelInfo, log_model, save_model
from tiltyard.models.reference import ModelReference, resolve
from tiltyard.models.registration import register_model

__all__ = [
    "CachedModel",
    "LoggedModelInfo",
    "ModelReference",
    "fetch",
    "load_model",
    "log_model",
    "register_model",
    "resolve",
    "save_model",
]
