"""What a server answered, and the problem that it is where it is not what was wanted."""

from dataclasses import dataclass
from typing import Any

from agent import strictjson
from agent.cdmi.server import Server
from agent.cdmi.text import redacted, shown
from attachers.problems import Code, Problem

DONE = (200, 201, 202, 204)
GONE = (404, 410)
"""That nothing is there; 410 of servers that remember what was (RFC 9110 clause 15.5.11)."""
NOT_THIS_WAY = (400, 404, 406, 410)
"""What servers answer to a spelling that they do not know: another may do (cdmi.md 6)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: `asked` is method and URL (after redirects), `body` at most the limit.

    `named` is the URL that was asked first, before redirects; empty where none was followed.
    `onward` is the Location of an answer to a creation.
    `version` is the CDMI version that the server says, empty where it says none; `spoken` the one that it was asked in.
    `found` is the CDMI object of a success, or the reason why there is none.
    """

    server: Server
    asked: str
    url: str
    status: int
    body: bytes
    version: str = ""
    spoken: str = ""
    found: dict[str, Any] | str = "it was not read"
    named: str = ""
    onward: str = ""

    def check(self) -> "Answer":
        """The answer itself when it is a success; else raises `Problem` not-found or cdmi-refused."""
        if self.status in DONE:
            return self
        said = f"{self.server.url} answered {self.status} to {self.asked}"
        if self.status in GONE:
            raise Problem(Code.NOT_FOUND, said, hint="check the object's ID or path")
        if self.status in (401, 403):
            raise Problem(Code.CDMI_REFUSED, said, hint=_login_hint(self.server, self.status))
        text = shown(redacted(self.server, self.body.decode("utf-8", "replace")).strip())
        raise Problem(Code.CDMI_REFUSED, f"{said}: {text}" if text else said, hint="see the CDMI server's log")

    def is_object(self) -> bool:
        """Whether the body is a JSON object."""
        return isinstance(self.found, dict)

    def members(self) -> dict[str, Any]:
        """The CDMI object in a successful answer. Raises `Problem` cdmi-refused where it is none."""
        found = self.check().found
        if isinstance(found, str):
            what = f"the answer to {self.asked} is no CDMI object: {found}"
            raise refused(self.server, what, hint="check url and spec_version of this [[server]]")
        return found


def read(status: int, body: bytes) -> dict[str, Any] | str:
    """The CDMI object of a success; else why there is none."""
    if status not in DONE:
        return "it is no success"
    try:
        return strictjson.loads(body)
    except ValueError as error:
        return str(error)


class TooLargeError(Problem):
    """An answer of more bytes than a CDMI object may have: perhaps an object's value, where its fields were wanted."""

    def __init__(self, server: Server, limit: int) -> None:
        what = f"{server.url}: the answer has more than {limit} bytes"
        super().__init__(Code.CDMI_REFUSED, what, hint="is it a CDMI object at all?")


class DanglingError(Problem):
    """What was named is a reference, and the object that it leads to is not there. `named` is its own URL."""

    named: str = ""


def unreachable(server: Server, reason: str, *, status: int) -> Problem:
    """No answer: 502 where the connection failed, 504 where time ran out."""
    certificates = ", and ca_file (and client_cert_file, where the server asks for one)"
    hint = f"check that the server runs{certificates if server.scheme == 'https' else ''}, and url of this [[server]]"
    detail = f"{server.url}: {shown(redacted(server, reason), 300)}"
    return Problem(Code.CDMI_UNREACHABLE, detail, hint=hint, status=status)


def refused(server: Server, reason: str, *, hint: str, status: int | None = None) -> Problem:
    """An answer that cannot be used."""
    detail = f"{server.url}: {shown(redacted(server, reason), 400)}"
    return Problem(Code.CDMI_REFUSED, detail, hint=hint, status=status)


def _login_hint(server: Server, status: int) -> str:
    if server.user is None and server.token is None:
        return "no login is configured for this [[server]]: set user and password_credential, or token_credential"
    if status == 401:
        return "check user and password_credential (or token_credential) of this [[server]]"
    return "give the configured user the right to read the object and to change its exports, or another login"
