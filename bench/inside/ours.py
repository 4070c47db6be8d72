"""Ours: PUT and DELETE on the daemon's socket, a connection for each, as a script would."""

import http.client
import json
import socket
from collections.abc import Mapping
from typing import Any

from bench.inside.lun import Lun
from bench.inside.serve import serve

SOCKET = "/run/cdmi-attach/control.sock"
TIMEOUT_S = 600.0


class _Connection(http.client.HTTPConnection):
    """HTTP over the Unix socket."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(SOCKET)


class Ours:
    """A caller of cdmi-attachd, with these settings in each request."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings

    def attach(self, lun: Lun) -> str:
        link: str = call("PUT", lun.name, {"source": lun.source, **self._settings})["link"]
        return link

    def detach(self, lun: Lun) -> None:
        call("DELETE", lun.name)


def call(method: str, name: str, body: Any = None) -> dict[str, Any]:
    """One request about an attachment; its JSON. Raises `RuntimeError` with the problem."""
    connection = _Connection("localhost")
    try:
        data = None if body is None else json.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        connection.request(method, f"/v1/attachments/{name}", data, headers)
        response = connection.getresponse()
        text = response.read()
    finally:
        connection.close()
    if response.status >= 300:
        raise RuntimeError(f"{method} {name}: {response.status} {text.decode()}")
    answer: dict[str, Any] = json.loads(text) if text else {}
    return answer


def make(options: Mapping[str, Any]) -> Ours:
    return Ours({name: options[name] for name in ("min_paths", "present") if name in options})


if __name__ == "__main__":
    serve(make)
