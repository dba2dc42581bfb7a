"""What a client may learn of the server (/api/3.0/mlflow/server-info)."""

from msgspec import Struct


class FeaturesEnabled(Struct, frozen=True):
    gateway: bool = False
    scheduled_issue_detection: bool = False


class ServerInfo(Struct):
    """What clients up to 3.18 ask for; what is not here counts as absent to them."""

    store_type: str
    workspaces_enabled: bool
    trace_archival_enabled: bool
    multipart_uploads_enabled: bool
    multipart_downloads_enabled: bool
    artifact_serving_enabled: bool = True
    features_enabled: FeaturesEnabled = FeaturesEnabled()
