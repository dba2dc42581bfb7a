"""A real HTTP server whose answers a test writes down beforehand."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Received:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    """What to answer. `cut` breaks the connection after that many bytes of the body; 0 means at once."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None


Script = Callable[[Received], Reply]


class ScriptedServer:
    """Answers each request with what `script` says, and keeps what it received."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.script: Script = lambda request: Reply()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                request = Received(self.command, self.path, dict(self.headers.items()), self._read())
                outer.received.append(request)
                self._answer(outer.script(request))

            def _read(self) -> bytes:
                if self.headers.get("Transfer-Encoding") == "chunked":
                    body = b""
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                    return body
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))

            def _answer(self, reply: Reply) -> None:
                if reply.cut == 0:
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                for key, value in ({"Content-Length": str(len(reply.body))} | reply.headers).items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(reply.body[: reply.cut])
                self.wfile.flush()
                self.close_connection = reply.cut is not None

            def log_message(self, *arguments: Any) -> None:
                pass

        self.listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.listening.server_address[1]}"
        threading.Thread(target=self.listening.serve_forever, args=(0.01,), daemon=True).start()

    def answers(self, *replies: Reply) -> None:
        """Gives these answers in turn, and the last one for ever."""
        left = list(replies)
        self.script = lambda request: left.pop(0) if len(left) > 1 else left[0]

    def stop(self) -> None:
        self.listening.shutdown()
        self.listening.server_close()


def reply(status: int, content: Any, **headers: str) -> Reply:
    """A JSON answer."""
    return Reply(status, json.dumps(content).encode(), headers)


def error(status: int, code: str, message: str = "no", **headers: str) -> Reply:
    """An error in the protocol's shape."""
    return reply(status, {"error_code": code, "message": message}, **headers)
