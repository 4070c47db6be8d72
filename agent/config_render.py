"""The effective configuration as TOML, with every default filled in and every secret as `***`."""

import json
from typing import Any

from agent.cdmi.server import Server
from agent.config import Config
from agent.config_chap import Chap
from agent.secret import SHOWN
from attachers import checks


def render(config: Config) -> str:
    """What `cdmi-attachd --show-config` prints."""
    attach = config.attach
    parts = [
        _table("[socket]", {"group": config.socket.group, "admins": config.socket.admins}),
        *(_table("[[server]]", _server(server, config.chap)) for server in config.servers),
        _table(
            "[attach]",
            {
                "protocols": attach.protocols,
                "device_owner": attach.device_owner,
                "multipath": attach.multipath,
                "allow_unverified": attach.allow_unverified,
                "trust_local_names": attach.trust_local_names,
                "timeout_s": attach.timeout_s,
            },
        ),
        _table("[iscsi]", {"interface": config.iscsi.interface}),
        _table("[nfs]", {"options": config.nfs.options}),
        _table("[libvirt]", {"uri": config.libvirt.uri}),
    ]
    return "\n".join(parts)


def _server(server: Server, chaps: tuple[Chap, ...]) -> dict[str, Any]:
    values: dict[str, Any] = {
        "url": server.url,
        "aliases": server.aliases,
        "spec_version": server.spec_version,
        "allow_http": server.allow_http,
        "user": server.user,
        "password": server.password and SHOWN,
        "token": server.token and SHOWN,
        "token_scheme": str(server.token_scheme) if server.token else None,
        "ca_file": server.ca_file,
        "client_cert_file": server.client_cert,
        "client_key": server.client_key and SHOWN,
        "storage_networks": tuple(str(network) for network in server.storage_networks),
        "storage_wwpns": tuple(checks.with_colons(port) for port in server.storage_wwpns) or None,
        "nfs_server": server.nfs_server,
        "parallel_reads": server.parallel_reads if server.parallel_reads > 1 else None,
        "quota": None if server.quota is None else str(server.quota),
    }
    for chap in chaps:
        if chap.server == server.url:
            values["chap.user"] = chap.user
            values["chap.mutual_user"] = chap.mutual_user or None
    return values


def _table(header: str, values: dict[str, Any]) -> str:
    lines = [f"{key} = {_value(value)}" for key, value in values.items() if value is not None]
    return "\n".join([header, *lines, ""])


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, float) else f"{value:g}"
