"""HTTP to the daemon over its Unix socket, and what its problems mean for the exit status."""

import _socket  # `socket` itself loads enum and selectors, and takes as long as the interpreter

from agent.cli.answer import Answer, Malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FAILED, USAGE, UNREACHABLE, NOT_FOUND, CONFLICT, TIMEOUT = 1, 2, 3, 4, 5, 6
EXIT = {
    "not-found": NOT_FOUND,
    "conflict": CONFLICT,
    "busy": CONFLICT,
    "in-use": CONFLICT,
    "stale": CONFLICT,
    "target-timeout": TIMEOUT,
    "device-timeout": TIMEOUT,
}
START = "start it: systemctl start cdmi-attachd.socket"
PLAIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
RECEIVE = 1 << 16
LONGEST_S = 3600.0
"""The longest deadline that the daemon takes; without --timeout the daemon's own configuration decides."""
GRACE_S = 30.0
"""What the daemon may take to answer after a deadline."""


class Failure(Exception):
    """The verb failed: the exit status, what happened, the remedy, and the daemon's own words where it has any."""

    def __init__(self, status: int, detail: str, hint: str, problem: "dict[str, Any] | None" = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.hint = hint
        self.problem = problem

    @property
    def is_unsupported(self) -> bool:
        """The daemon's version has no such route yet."""
        return bool(self.problem) and (self.problem or {}).get("status") == 501


class Connection:
    """One request to the daemon and its answer, on a connection of its own. Everything raises `Failure`."""

    def __init__(self, path: str, timeout_s: float | None) -> None:
        self._path = path
        self._answer = Answer()
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)

    def fileno(self) -> int:
        """For poll: readable when `receive` does not wait."""
        return self._socket.fileno()

    def close(self) -> None:
        """Go away; the daemon goes on with what it was asked for."""
        self._socket.close()

    def send(self, method: str, route: str, body: "Any" = None, *, headers: str = "") -> None:
        """Connect and ask; more headers are lines, each with its end."""
        data, kind = b"", headers
        if body is not None:
            import json

            data, kind = json.dumps(body).encode(), f"{headers}Content-Type: application/json\r\n"
        head = f"{method} {route} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{kind}Content-Length: {len(data)}"
        try:
            self._socket.connect(self._path)
            self._socket.sendall(f"{head}\r\n\r\n".encode() + data)
        except OSError as error:
            raise _unreachable(error, self._path) from None

    def begin(self, method: str, route: str, headers: str) -> None:
        """Connect, and ask with a body that is to be given by `give`; headers are lines, each with its end."""
        head = f"{method} {route} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"
        try:
            self._socket.connect(self._path)
            self._socket.sendall(head.encode())
        except OSError as error:
            raise _unreachable(error, self._path) from None

    def give(self, piece: bytes) -> bool:
        """A part of the body. False when the daemon takes no more of it: its answer says why."""
        try:
            self._socket.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            return False
        except OSError as error:
            raise _unreachable(error, self._path) from None
        return True

    def receive(self, most: int = RECEIVE) -> bytes:
        """What of the body comes with the next bytes: perhaps nothing. Waits for them, once."""
        try:
            return self._answer.feed(self._socket.recv(most))
        except (OSError, Malformed) as error:
            raise _unreachable(error, self._path) from None

    def result(self, start: bytes = b"") -> "dict[str, Any]":
        """The whole answer, after `start` of it was received: the object, empty where there is no body.

        `{"absent": True}` where the daemon says that what was to go was not there.
        """
        while not self.done:
            start += self.receive()
        absent = self.status == 204 and self.header("x-nothing-to-do")
        return {"absent": True} if absent else _result(self._answer.status, start)

    @property
    def status(self) -> int:
        """The answer's status, 0 until its head is there."""
        return self._answer.status

    def header(self, name: str) -> str:
        """A header of the answer (its name in lower case), empty where it has none."""
        return self._answer.fields.get(name, "")

    @property
    def done(self) -> bool:
        """The answer is complete."""
        return self._answer.done

    @property
    def refused(self) -> bool:
        """The answer is a problem."""
        return self._answer.status >= 400


def attachment(name: str) -> str:
    """The route of one attachment."""
    return "/v1/attachments/" + escaped(name)


def escaped(text: str) -> str:
    """The text as a part of a route (`urllib` takes as long to load as the request)."""
    return "".join(char if char in PLAIN else "".join(f"%{byte:02X}" for byte in char.encode()) for char in text)


def call(path: str, method: str, route: str, body: "Any" = None, *, timeout_s: float) -> "dict[str, Any]":
    """One request to the daemon at the socket `path`; an answer without a body is an empty object. Raises `Failure`."""
    connection = Connection(path, timeout_s)
    try:
        connection.send(method, route, body)
        return connection.result()
    finally:
        connection.close()


def query(**values: "bool | int | str | None") -> str:
    """The query of a route, from what is set of these: True is 1, False and None are left out."""
    given = "&".join(
        f"{name}={1 if value is True else escaped(str(value))}"
        for name, value in values.items()
        if value is not None and value is not False
    )
    return f"?{given}" if given else ""


def parse(text: bytes) -> "Any":
    """The JSON value. Raises ValueError. The package `json` itself loads `re`: it is asked where its C part is not."""
    try:
        from _json import make_scanner
    except ImportError:
        return _parse_slowly(text)
    try:
        whole = text.decode().strip()
        value, end = make_scanner(_Strict)(whole, 0)  # type: ignore[arg-type]  # as json.scanner calls it
        return value if end == len(whole) else _parse_slowly(text)
    except (StopIteration, ValueError):
        return _parse_slowly(text)


class _Strict:
    """What the scanner wants to know: json.decoder's defaults."""

    strict, object_hook, object_pairs_hook, parse_float, parse_int, parse_constant = True, None, None, float, int, float
    memo: "dict[str, str]" = {}  # noqa: RUF012  # the scanner's own, empty after each use


def _parse_slowly(text: bytes) -> "Any":
    import json

    return json.loads(text)


def _unreachable(error: Exception, path: str) -> Failure:
    match error:
        case PermissionError():
            return Failure(UNREACHABLE, f"you may not open {path}", "usermod -aG cdmi-attach USER, and log in again")
        case FileNotFoundError() | ConnectionRefusedError():
            return Failure(UNREACHABLE, f"cdmi-attachd does not listen at {path}", START)
        case TimeoutError():
            return Failure(TIMEOUT, "cdmi-attachd does not answer", "see: systemctl status cdmi-attachd")
        case Malformed():
            return Failure(UNREACHABLE, f"{error}", "ask again: every verb may be repeated")
        case _:
            detail = f"the connection to cdmi-attachd broke ({type(error).__name__})"
            return Failure(UNREACHABLE, detail, "ask again: every verb may be repeated")


def _result(status: int, text: bytes) -> "dict[str, Any]":
    try:
        answer = parse(text) if text else {}
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
