"""What NFS servers, exports and files below them may be called; what is not allowed is refused by the rule's name.

Nothing is normalised before it is checked, and nothing that could mean something to a mount table, an option string or
a shell passes: reliability.md 2.3 has the list, and the CVEs that it is made of.
"""

import ipaddress
import re

from attachers import checks
from attachers.problems import Code, Problem

VERSIONS = ("4", "4.1", "4.2")
MAX_PATH = 1024
MAX_SEGMENT = 255
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?", re.ASCII)
_RESERVED = re.compile(r"[^A-Za-z0-9._@%+=,/-]", re.ASCII)
_HINT = "rename it on the server; a path may have A-Z a-z 0-9 . _ @ % + = , - in its names, and / between them"


def server(value: str, *, field: str = "server") -> str:
    """A host's name (lower case) or its address in canonical form, without brackets, scope and port."""
    try:
        address = ipaddress.ip_address("" if "%" in value else value)
    except ValueError:
        if not _HOST.fullmatch(value):
            raise checks.refuse(field, value, "a host name or an IP address (without a zone)") from None
        return value.lower()
    return str(getattr(address, "ipv4_mapped", None) or address)


def export(value: str, *, field: str = "export") -> str:
    """An export's absolute path, without a slash at its end; `/` alone is the root of an NFSv4 server."""
    if not value.startswith("/"):
        raise checks.refuse(field, value, "an absolute path")
    inner = value[1:].removesuffix("/")
    if inner:
        _check(inner, field, value)
    return f"/{inner}"


def file(value: str, *, field: str = "path") -> str:
    """The path of a file relative to the export."""
    _check(value, field, value)
    return value


def version(value: str, *, field: str = "version") -> str:
    """The NFS version: 4 (the server's and the client's highest 4.x), 4.1 or 4.2."""
    if value not in VERSIONS:
        raise checks.refuse(field, value, f"one of {', '.join(VERSIONS)}")
    return value


def broken_rule(path: str) -> str:
    """The rule that this path (no slash in front) breaks, in words; empty where it breaks none."""
    if len(path.encode("utf-8", "replace")) > MAX_PATH - 1:
        return f"is longer than {MAX_PATH} bytes"
    if not path.isprintable():
        return "has a control character in it"
    if reserved := _RESERVED.search(path):
        return f"has the reserved character {reserved[0]!a} in it"
    for segment in path.split("/"):
        if segment in ("", ".", ".."):
            return f"has the segment {segment!r} in it, which could lead elsewhere"
        if len(segment) > MAX_SEGMENT:
            return f"has a name of more than {MAX_SEGMENT} characters in it"
    return ""


def _check(path: str, field: str, shown: str) -> None:
    if rule := broken_rule(path):
        raise Problem(Code.INVALID_REQUEST, f"{field}: {ascii(shown)[:120]} {rule}", hint=_HINT)
