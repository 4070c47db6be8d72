"""HTTP to the daemon over its Unix socket, and what its problems mean for the exit status."""

import http.client
import json
import socket
from typing import Any
from urllib.parse import quote

FAILED, UNREACHABLE, NOT_FOUND, CONFLICT, TIMEOUT = 1, 3, 4, 5, 6
EXIT = {
    "not-found": NOT_FOUND,
    "conflict": CONFLICT,
    "busy": CONFLICT,
    "in-use": CONFLICT,
    "stale": CONFLICT,
    "target-timeout": TIMEOUT,
    "device-timeout": TIMEOUT,
}
START = "systemctl start cdmi-attachd.socket"


class Failure(Exception):
    """The verb failed: the exit status, what happened, the remedy, and the daemon's own words where it has any."""

    def __init__(self, status: int, detail: str, hint: str, problem: dict[str, Any] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.hint = hint
        self.problem = problem


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the path instead of to host and port."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def attachment(name: str) -> str:
    """The route of one attachment."""
    return f"/v1/attachments/{quote(name, safe='')}"


def call(path: str, method: str, route: str, body: Any = None, *, timeout_s: float) -> dict[str, Any]:
    """One request to the daemon at the socket `path`; an answer without a body is an empty object. Raises `Failure`."""
    connection = _Connection(path, timeout_s)
    try:
        connection.connect()
        status, text = _exchange(connection, method, route, body)
    except PermissionError:
        raise Failure(UNREACHABLE, f"you may not open {path}", "usermod -aG cdmi-attach USER, log in again") from None
    except (FileNotFoundError, ConnectionRefusedError):
        raise Failure(UNREACHABLE, f"cdmi-attachd does not listen at {path}", START) from None
    except TimeoutError:
        raise Failure(TIMEOUT, "cdmi-attachd does not answer", "systemctl status cdmi-attachd") from None
    except (OSError, http.client.HTTPException) as error:
        detail = f"the connection to cdmi-attachd broke ({type(error).__name__})"
        raise Failure(UNREACHABLE, detail, "ask again: every verb may be repeated") from None
    finally:
        connection.close()
    return _read(status, text)


def _exchange(connection: _Connection, method: str, route: str, body: Any) -> tuple[int, bytes]:
    data = None if body is None else json.dumps(body).encode()
    connection.request(method, route, data, {"Content-Type": "application/json"} if data else {})
    response = connection.getresponse()
    return response.status, response.read()


def _read(status: int, text: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(text) if text else {}
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise Failure(FAILED, f"cdmi-attachd answered with status {status} and no JSON object", "is it cdmi-attachd?")
    if status < 400:
        return answer
    exit_status = EXIT.get(str(answer.get("code")), TIMEOUT if status == 504 else FAILED)
    detail = str(answer.get("detail") or f"status {status}")
    if step := answer.get("step"):
        detail += f" (at: {step})"
    raise Failure(exit_status, detail, str(answer.get("hint") or ""), answer)
