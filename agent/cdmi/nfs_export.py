"""The members of an NFS export entry, in every form that CDMI ever had, read leniently into a plan. Pure.

CDMI 1.0 clause 13.4 has `identifier`, 1.1 clause 13.4 `exportpath`, 2.0 clause 13.3 `path`, and the draft of 3.0 a
list of protocols and the servers' addresses. Nothing of it becomes a mount option: those are constants and configured.
"""

import re
from collections.abc import Mapping
from typing import Any

from agent.cdmi.iscsi_export import NotReadyError
from agent.cdmi.place import Place
from attachers import checks, nfs_checks
from attachers.problems import Code, Problem

PROTOCOL = "nfs"
MAX_SERVERS = 16
SERVERS = "servers"
"""Names and addresses to choose from, until one address is pinned: see `networks`."""
_PLACES = ("path", "exportpath", "identifier")
_VERSION = re.compile(r"nfs(?:v(\d(?:\.\d)?))?", re.ASCII)
_PLACE = re.compile(r"(?:(\[[0-9A-Fa-f:.]+\]|[^\[\]:/]+):)?(/.*)", re.ASCII | re.DOTALL)
_ON, _OFF = ("true", "1"), ("false", "0")


def read(key: str, entry: Mapping[str, Any], path: str, place: Place) -> dict[str, Any]:
    """The values of an NFS plan, but with `SERVERS` where the plan has `server`.

    `path` is the entry's, for problems. Raises `NotReadyError`, and `Problem` naming the member and the rule.
    """
    _refuse_switched_off(entry, path)
    server, export = location(entry, path)
    servers = [server] if server else _server_addresses(entry, path) or list(place.nfs_servers)
    version = _version(key, entry, path)
    if place.file is None:
        hint = "give a data object in it as the source"
        raise Problem(Code.INVALID_REQUEST, f"{path} exports the folder {export}, which is no disk: {hint}", hint=hint)
    return {
        SERVERS: servers,
        "export": export,
        "path": nfs_checks.file(place.file, field="objectName"),
        "version": version,
        "size": place.size,
        "object_id": place.object_id,
    }


def location(entry: Mapping[str, Any], path: str) -> tuple[str, str]:
    """Server (empty where the entry names none) and absolute path of `[server:]/path`."""
    given = {name: entry[name] for name in _PLACES if entry.get(name) not in (None, "")}
    if not given:
        raise NotReadyError(f"not ready: {path} has none of {', '.join(_PLACES)}")
    name, value = next(iter(given.items()))
    field = f"{path}.{name}"
    if len({str(one) for one in given.values()}) > 1:
        raise checks.refuse(field, value, f"the same as {' and '.join(list(given)[1:])} beside it")
    match = _PLACE.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise checks.refuse(field, value, "[server:]/absolute/path")
    server = match[1].strip("[]") if match[1] else ""
    return server and nfs_checks.server(server, field=field), nfs_checks.export(match[2], field=field)


def _version(key: str, entry: Mapping[str, Any], path: str) -> str:
    """The version from `protocol` (a name; in 3.0 a list, of which the highest is taken), else from the key."""
    named = entry.get("protocol")
    if named in (None, "", []):
        name = str(entry.get("type") or key).casefold().removeprefix("network/")
        return _one_version(name, path, "its protocol is missing")
    field = f"{path}.protocol"
    names = named if isinstance(named, list) else [named]
    if not all(isinstance(one, str) for one in names):
        raise checks.refuse(field, named, "the name of a protocol, or a list of those")
    if len(names) == 1:
        return _one_version(names[0].casefold(), field, "")
    able = [version for name in names if (version := _number(name.casefold())) in nfs_checks.VERSIONS]
    if not able:
        raise checks.refuse(field, named, "a list with NFSv4, NFSv4.1 or NFSv4.2 in it")
    return max(able)


def _one_version(name: str, field: str, why: str) -> str:
    version = _number(name)
    if version in nfs_checks.VERSIONS:
        return version
    said = why or "it names no version" if version == "" else f"NFS version {version} cannot be used here"
    detail = f"{field}: {ascii(name)[:80]}: {said}"
    raise Problem(Code.INVALID_REQUEST, detail, hint="let the server export NFSv4, NFSv4.1 or NFSv4.2, and say so")


def _number(name: str) -> str:
    """4, 4.1, 3, ... of NFSv4, NFSv4.1, NFSv3; empty where there is none."""
    match = _VERSION.fullmatch(name)
    return (match[1] or "").removesuffix(".0") if match else ""


def _refuse_switched_off(entry: Mapping[str, Any], path: str) -> None:
    if str(entry.get("control", "")).casefold() == "off":
        raise NotReadyError(f"switched off: {path}.control is off", pending=False)
    if str(entry.get("disabled", "")).casefold() in _ON:
        raise NotReadyError(f"switched off: {path}.disabled is true", pending=False)
    if str(entry.get("active", "")).casefold() in _OFF:
        problems = ascii(entry.get("last_problems") or "none told")[:200]
        raise NotReadyError(f"not ready: {path}.active is false (last_problems: {problems})")


def _server_addresses(entry: Mapping[str, Any], path: str) -> list[str]:
    """The draft of 3.0 lets the server say where it is: `server_addresses`, a name or a list of names."""
    field, value = f"{path}.server_addresses", entry.get("server_addresses")
    values = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(values, list) or len(values) > MAX_SERVERS or not all(isinstance(one, str) for one in values):
        raise checks.refuse(field, value, f"a list of at most {MAX_SERVERS} names or addresses")
    return list(dict.fromkeys(nfs_checks.server(one.strip("[]"), field=field) for one in values))
