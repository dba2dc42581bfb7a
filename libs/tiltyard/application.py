"""The web application that both services are made of."""

from litestar import Litestar
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin


class Application(Litestar):
    """An application without the plugins that come along where their package is, such as pydantic's.

    They take 10 MB, a tenth of a start to import, and a look at each argument of each route.
    """

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return [*plugins, MsgspecDIPlugin()]
