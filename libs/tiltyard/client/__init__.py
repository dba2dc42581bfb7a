"""The registry's API from Python: every call is data, two thin shells send it.

with Client() as client:
    client.set_alias("main.clinic.tumor", "champion", 3, expected_version=2)
"""

from tiltyard.client.async_client import AsyncClient
from tiltyard.client.sync_client import Client

__all__ = ["AsyncClient", "Client"]
