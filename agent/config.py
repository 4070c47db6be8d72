"""The configuration as values: what /etc/cdmi-attach/config.toml and conf.d/*.toml say, checked, secrets read in."""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from agent import config_secrets
from agent.cdmi.server import Network, Server, TokenScheme
from agent.config_chap import Chap, read_chap
from agent.config_files import read_files
from agent.config_table import Table
from attachers import checks, nfs_options
from attachers.problems import Problem

DEFAULT_PATH = Path("/etc/cdmi-attach/config.toml")
PROTOCOLS = ("fc", "iscsi", "nfs")
_GROUP = re.compile(r"[a-z_][a-z0-9_-]{0,31}", re.ASCII)
_BYTES = re.compile(r"(\d{1,15}) ?(?:([kKMGTPE])(i?)B?|B)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Socket:
    """`[socket]`: the group whose members may call, and that of those who may change what others have attached."""

    group: str = "cdmi-attach"
    admins: str = ""


@dataclass(frozen=True, slots=True)
class Attach:
    """`[attach]`. `protocols` is the order of preference where a request has none; `device_owner` user:group or empty.

    `multipath` is auto, always or never; `allow_unverified` lets exports be used that name no logical unit,
    `trust_local_names` takes a locally assigned name (NAA 3) for proof.
    """

    protocols: tuple[str, ...] = ("iscsi",)
    device_owner: str = ""
    multipath: str = "auto"
    allow_unverified: bool = False
    timeout_s: float = 60.0
    trust_local_names: bool = False


@dataclass(frozen=True, slots=True)
class Iscsi:
    """`[iscsi]`: the interface of open-iscsi that new sessions use, "default" for the host's own choice."""

    interface: str = "default"


@dataclass(frozen=True, slots=True)
class Nfs:
    """`[nfs]`: more mount options, whether a lower version than the export says will do, and whether disks made of
    files take discards where the mount runs NFS 4.2.
    """

    options: str = "hard,noatime"
    allow_downgrade: bool = False
    discard: bool = True


@dataclass(frozen=True, slots=True)
class Libvirt:
    """`[libvirt]`: the connection for domains."""

    uri: str = "qemu:///system"


@dataclass(frozen=True, slots=True)
class Config:
    """All of it."""

    socket: Socket = Socket()
    servers: tuple[Server, ...] = ()
    attach: Attach = Attach()
    iscsi: Iscsi = Iscsi()
    nfs: Nfs = Nfs()
    libvirt: Libvirt = Libvirt()
    chap: tuple[Chap, ...] = ()


class ConfigError(Exception):
    """The configuration cannot be used: `errors` has one line for each thing that is wrong."""

    def __init__(self, errors: tuple[str, ...]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


def load_config(
    path: Path = DEFAULT_PATH,
    *,
    environ: Mapping[str, str] = os.environ,
    need_credentials: bool = True,
    read_secrets: bool = True,
) -> Config:
    """Read the files and the secrets they name. Raises `ConfigError` with every error, each with its file and line.

    `need_credentials` False passes over systemd credentials where there are none at all (in a shell, say);
    `read_secrets` False opens none at all: stand-ins are in their places.
    """
    document = read_files(path)
    table = Table(document, document.values, ())
    secrets = config_secrets.Reader(
        environ.get("CREDENTIALS_DIRECTORY"), need_credentials=need_credentials, opens=read_secrets
    )
    found = [_server(server, secrets) for server in table.tables("server")]
    config = Config(
        socket=_socket(table.inner("socket")),
        servers=tuple(server for server, _ in found if server is not None),
        attach=_attach(table.inner("attach")),
        iscsi=_iscsi(table.inner("iscsi")),
        nfs=_nfs(table.inner("nfs")),
        libvirt=_libvirt(table.inner("libvirt")),
        chap=tuple(chap for _, chap in found if chap is not None),
    )
    table.finish()
    if not document.errors:
        _refuse_twins(table, config.servers)
    if document.errors:
        raise ConfigError(tuple(document.errors))
    return config


def _socket(table: Table | None) -> Socket:
    if table is None:
        return Socket()
    socket = Socket(table.text("group", Socket().group, check=_group), table.text("admins", "", check=_group_or_none))
    table.finish()
    return socket


def _attach(table: Table | None) -> Attach:
    if table is None:
        return Attach()
    default = Attach()
    attach = Attach(
        protocols=table.texts("protocols", default.protocols, check=_protocol),
        device_owner=table.text("device_owner", check=lambda text: checks.owner(text, field="device_owner")),
        multipath=table.choice("multipath", ("auto", "always", "never"), default.multipath),
        allow_unverified=table.flag("allow_unverified", default=default.allow_unverified),
        trust_local_names=table.flag("trust_local_names", default=default.trust_local_names),
        timeout_s=table.seconds("timeout_s", default.timeout_s, low=1, high=3600),
    )
    if not attach.protocols or len(set(attach.protocols)) < len(attach.protocols):
        table.complain("protocols", "is empty or names one twice", f"give some of {', '.join(PROTOCOLS)}, each once")
    table.finish()
    return attach


def _iscsi(table: Table | None) -> Iscsi:
    if table is None:
        return Iscsi()
    iscsi = Iscsi(interface=table.text("interface", Iscsi().interface, check=checks.iface))
    table.finish()
    return iscsi


def _nfs(table: Table | None) -> Nfs:
    if table is None:
        return Nfs()
    nfs = Nfs(
        options=table.text("options", Nfs().options, check=_options),
        allow_downgrade=table.flag("allow_downgrade", default=Nfs().allow_downgrade),
        discard=table.flag("discard", default=Nfs().discard),
    )
    table.finish()
    return nfs


def _libvirt(table: Table | None) -> Libvirt:
    if table is None:
        return Libvirt()
    libvirt = Libvirt(uri=table.text("uri", Libvirt().uri))
    table.finish()
    return libvirt


def _server(table: Table, secrets: config_secrets.Reader) -> tuple[Server | None, Chap | None]:
    before = table.errors
    table.require("url", 'give the URL of the server\'s root, such as "https://cdmi.example.org/cdmi/"')
    url = table.text("url")
    password, token = secrets.read(table, "password"), secrets.read(table, "token")
    aliases = table.texts("aliases", check=str)
    spec_version = table.text("spec_version", "auto")
    user = table.text("user") or None
    scheme = TokenScheme(table.choice("token_scheme", tuple(TokenScheme), TokenScheme.BEARER))
    ca_file = table.text("ca_file", check=_readable) or None
    client_cert = table.text("client_cert_file", check=_readable) or None
    client_key = secrets.path(table, "client_key")
    networks = table.texts("storage_networks", check=network)
    wwpns = table.texts("storage_wwpns", check=_wwpn)
    allow_http = table.flag("allow_http", default=False)
    nfs_server = table.text("nfs_server") or None
    quota = bytes_of(table.text("quota", check=_quota))
    parallel_reads = table.number("parallel_reads", 1, low=1, high=8)
    chap = read_chap(table.inner("chap"), url)
    table.finish()
    if table.errors > before:
        return None, None
    try:
        server = Server(
            url=url,
            aliases=aliases,
            spec_version=spec_version,
            user=user,
            password=password,
            token=token,
            token_scheme=scheme,
            ca_file=ca_file,
            client_cert=client_cert,
            client_key=client_key,
            storage_networks=tuple(ipaddress.ip_network(text) for text in networks),
            storage_wwpns=wwpns,
            allow_http=allow_http,
            nfs_server=nfs_server,
            quota=quota,
            parallel_reads=parallel_reads,
        )
    except ValueError as error:
        key, _, what = str(error).partition(": ")
        table.complain(key, what, "see cdmi-attachd.conf(5)")
        return None, None
    return server, chap and replace(chap, server=server.url)


def _refuse_twins(table: Table, servers: tuple[Server, ...]) -> None:
    for index, server in enumerate(servers):
        if any(server.url == other.url for other in servers[:index]):
            table.tables("server")[index].complain("url", "is there twice", "keep one [[server]] for each URL")


def _group(text: str) -> str:
    if not _GROUP.fullmatch(text):
        raise ValueError("the name of a group")
    return text


def _group_or_none(text: str) -> str:
    return _group(text) if text else text


def _protocol(text: str) -> str:
    if text not in PROTOCOLS:
        raise ValueError(f"one of {', '.join(PROTOCOLS)}")
    return text


def _options(text: str) -> str:
    nfs_options.parse(text)
    return text


def bytes_of(text: str) -> int | None:
    """A size such as `10 TiB` or `500GB` in bytes; None of nothing. Raises `ValueError`."""
    if not text:
        return None
    match = _BYTES.fullmatch(text)
    if not match:
        raise ValueError('a size such as "500 GiB", "10TB" or "1099511627776"')
    power = " KMGTPE".index(match[2].upper()) if match[2] else 0
    return int(match[1]) * int((1024 if match[3] else 1000) ** power)


def _quota(text: str) -> str:
    bytes_of(text)
    return text


def _wwpn(value: str) -> str:
    try:
        return checks.wwpn(value, field="storage_wwpns")
    except Problem:
        raise ValueError("the name of a port, such as 50:01:43:80:12:34:56:78") from None


def network(text: str) -> str:
    """A network in its canonical form. Raises `ValueError`."""
    try:
        found: Network = ipaddress.ip_network(text)
    except ValueError:
        raise ValueError("a network such as 10.1.0.0/16, without host bits") from None
    return str(found)


def _readable(text: str) -> str:
    try:
        with Path(text).open("rb"):
            return text
    except OSError as error:
        raise ValueError(f"a file that can be read ({error.strerror})") from None
