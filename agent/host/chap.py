"""CHAP: from the name of a server's entry to its secrets, which are read here and go into a node record, nowhere else.

The daemon sends the name (the server's URL) and never sees a secret. The configuration and the files that it names are
believed only where nobody but root can have written them; else a daemon that was taken over could have any file read.
"""

import os
import stat
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from agent.config import network
from agent.config_chap import Chap, is_value, read_chap
from agent.config_files import read_files
from agent.config_secrets import Named
from agent.config_table import Table
from agent.host import root_files
from agent.host.allowed import Place
from agent.host.roots import Roots
from agent.secret import Secret
from attachers import checks
from attachers.problems import Code, Problem

MAX_BYTES = 4096
UNIT = "cdmi-attach-helperd.service"


@dataclass(frozen=True, slots=True)
class Secrets:
    """How to log in to a server's targets; with the mutual ones, how they prove themselves to us."""

    user: str
    password: Secret
    mutual_user: str = ""
    mutual_password: Secret | None = None


def secrets_of(roots: Roots, server: str, portal: str) -> Secrets:
    """The secrets of the server's `chap`, read anew, for that portal, which has to be in the server's networks.

    Raises `Problem` (`unsupported-on-host`), which shows none.
    """
    chap = _entry(roots, server, portal)
    secrets = Secrets(
        chap.user,
        _secret(chap.password),
        chap.mutual_user,
        _secret(chap.mutual_password) if chap.mutual_password else None,
    )
    if secrets.mutual_password == secrets.password:
        raise _unusable(f"chap of {server} has one secret for both directions", "RFC 7143 9.2.1: give another one")
    return secrets


def _entry(roots: Roots, server: str, portal: str) -> Chap:
    path = roots.etc / "cdmi-attach/config.toml"
    for place in root_files.places(path):
        _insist_on_root(place, place.stat())
    document = read_files(path)
    for table in Table(document, document.values, ()).tables("server"):
        url = table.text("url")
        chap = read_chap(table.inner("chap"), server) if server in (url, f"{url}/") else None
        networks = tuple(ip_network(text) for text in table.texts("storage_networks", check=network))
        if chap and not document.errors:
            if not Place(server, networks).has(checks.split_portal(portal)[0]):
                what = f"{portal} is outside storage_networks of {server}: its secrets are not for that"
                raise _unusable(what, "add the network, if it is a storage network of that server")
            return chap
    if document.errors:
        raise _unusable(document.errors[0], "see cdmi-attachd.conf(5)")
    raise _unusable(f"{path} has no chap for {server} (any more)", "give it chap, or reload cdmi-attachd")


def _secret(named: Named) -> Secret:
    if named.file:
        return _read(Path(named.file), f"install -m 0400 -o root /dev/stdin {named.file}")
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    remedy = f"put LoadCredential={named.credential}:/etc/cdmi-attach/credentials/{named.credential} into {UNIT}"
    if credentials is None:
        raise _unusable(f"the helper has no systemd credential {named.credential}", remedy)
    return _read(Path(credentials) / named.credential, remedy)


def _read(path: Path, remedy: str) -> Secret:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            _insist_on_root(path, status, forbidden=0o077)
            content = file.read(MAX_BYTES) if stat.S_ISREG(status.st_mode) else b""
    except OSError as error:
        raise _unusable(f"{path} cannot be read ({error.strerror})", remedy) from None
    text = content.decode("utf-8", errors="replace").removesuffix("\n").removesuffix("\r")
    if not is_value(text):
        what = "one line of 1 to 255 printable ASCII characters, without blanks around them"
        raise _unusable(f"{path} has no usable CHAP secret", f"write the secret alone into it: {what}")
    return Secret(text)


def _insist_on_root(path: Path, status: os.stat_result, *, forbidden: int = 0o022) -> None:
    if found := root_files.flaw(path, status, forbidden=forbidden):
        raise _unusable(*found)


def _unusable(what: str, remedy: str) -> Problem:
    return Problem(Code.UNSUPPORTED_ON_HOST, f"CHAP: {what}", hint=remedy)
