"""One configured CDMI server: where it is, how to talk to it, who we are there, and where its exports may point."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from agent.cdmi.dialects import AUTO
from agent.secret import Secret

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

PORTS = {"http": 80, "https": 443}
_SPECIAL = ("is_loopback", "is_link_local", "is_multicast", "is_unspecified")
_VERSION = re.compile(r"[123]\.\d{1,2}(?:\.\d{1,2})?", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII)
_ROOT = re.compile(r"/(?:[A-Za-z0-9_~-][A-Za-z0-9._~-]*/)*", re.ASCII)


class TokenScheme(StrEnum):
    """The header that carries the token."""

    BEARER = "bearer"
    X_AUTH_TOKEN = "x-auth-token"


@dataclass(frozen=True, slots=True)
class Server:
    """One `[[server]]` of the configuration. Raises `ValueError`, with the key's name, where a value is unusable.

    `url` ends with its root path and a slash (added where it is missing). `aliases` are other `host` or `host:port`
    that sources may use for it; it is always dialled at `url`. `spec_version` is "auto" or the one CDMI version to say.
    `client_cert` and `client_key` are files (PEM) with our own certificate; without the key, it is in the former.
    `storage_networks` is where exports may point: nothing else is dialled, and none listed means nowhere.
    `storage_wwpns` are the Fibre Channel ports (in normal form) that they may name, none listed means any.
    `quota` is how many bytes we may store there, None: not told.
    `parallel_reads` is by how many connections at a time a value is read, from 1 to 8.
    """

    url: str
    aliases: tuple[str, ...] = ()
    spec_version: str = AUTO
    user: str | None = None
    password: Secret | None = None
    token: Secret | None = None
    token_scheme: TokenScheme = TokenScheme.BEARER
    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    storage_networks: tuple[Network, ...] = ()
    storage_wwpns: tuple[str, ...] = ()
    allow_http: bool = False
    nfs_server: str | None = None
    quota: int | None = None
    parallel_reads: int = 1

    def __post_init__(self) -> None:
        if not self.url.endswith("/"):
            object.__setattr__(self, "url", self.url + "/")
        _check_url(self.url, allow_http=self.allow_http)
        for alias in self.aliases:
            split_authority(alias, field="aliases")
        if self.spec_version != AUTO and not _VERSION.fullmatch(self.spec_version):
            raise ValueError('spec_version: give "auto" or a version such as "1.1.1"')
        _check_login(self)

    @property
    def scheme(self) -> str:
        """http or https."""
        return urlsplit(self.url).scheme

    @property
    def host(self) -> str:
        """The name or address, lower case, without brackets."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The TCP port, also where the URL has none."""
        return urlsplit(self.url).port or PORTS[self.scheme]

    @property
    def root(self) -> str:
        """The root path: begins and ends with a slash."""
        return urlsplit(self.url).path


def allows(networks: Sequence[Network], address: Address) -> bool:
    """Whether the address is in one of the networks; one for special use only in a network of just that use."""
    return any(_allows(network, address) for network in networks)


def _allows(network: Network, address: Address) -> bool:
    if address.version != network.version or address not in network:
        return False
    return all(getattr(network, use) for use in _SPECIAL if getattr(address, use))


def split_authority(text: str, *, field: str) -> tuple[str, int | None]:
    """Host (lower case, without brackets) and port of `host[:port]` or `[v6][:port]`. Raises `ValueError`."""
    wanted = f"{field}: {ascii(text)[:120]} is not a host with an optional port"
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(wanted) from None
    if parts.netloc != text or parts.username is not None or text.endswith(":") or port == 0 or not _is_host(host):
        raise ValueError(wanted)
    return host, port


def _is_host(host: str) -> bool:
    if ":" not in host:
        return _HOST.fullmatch(host) is not None
    try:
        return "%" not in host and ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def _check_url(url: str, *, allow_http: bool) -> None:
    if "@" in url:
        raise ValueError("url: a user name does not belong here: set user and password_credential")
    wanted = f"url: {ascii(url)[:200]} is not a URL such as https://cdmi.example.org/cdmi/"
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(wanted) from None
    if (
        not url.isprintable()
        or parts.scheme not in PORTS
        or "?" in url
        or "#" in url
        or not _ROOT.fullmatch(parts.path)
    ):
        raise ValueError(wanted)
    split_authority(parts.netloc, field="url")
    if parts.scheme == "http" and not allow_http:
        raise ValueError("url: http is neither private nor authentic: use https, or set allow_http = true")


def _check_login(server: Server) -> None:
    """Complain about half a login, two of them, or characters that a header cannot carry; never show a value."""
    if (server.user is None) != (server.password is None):
        raise ValueError("user: Basic authentication needs both user and password")
    if server.user is not None and server.token is not None:
        raise ValueError("token: give either user and password, or a token")
    if server.user is not None and (":" in server.user or not server.user.isprintable()):
        raise ValueError("user: a colon or a control character cannot be sent in Basic authentication")
    if server.client_key is not None and server.client_cert is None:
        raise ValueError("client_cert_file: a key (client_key_file, client_key_credential) needs its certificate")
    if server.token is not None and not re.fullmatch(r"[!-~]+", server.token.reveal(), re.ASCII):
        raise ValueError("token: it is empty, or has characters that a header cannot carry")
