"""Where exports may point: names become addresses once, and addresses outside the server's networks are dropped."""

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agent.cdmi import iscsi_export
from agent.cdmi.nfs_export import SERVERS
from agent.cdmi.server import Address as Address
from agent.cdmi.server import Server
from agent.cdmi.server import allows as allows
from agent.cdmi.text import shown
from agent.model import SeenExport
from attachers import checks, iscsi, nfs_checks
from attachers.problems import Problem

Resolver = Callable[[str], Awaitable[Sequence[str]]]
"""From a host name to its addresses; raises `OSError`."""
MAX_NAMES = 16
TARGETS = "targets"
_WWPN_HINT = "add the port to storage_wwpns of this [[server]], if it is one of your arrays'"
_HINT = "add the network to storage_networks of this [[server]], if it is a storage network of yours"
log = logging.getLogger(__name__)


async def look_up(name: str) -> list[str]:
    """The system's resolver, in a thread."""
    found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [str(where[0]) for *_, where in found]


async def pinned(
    exports: Sequence[SeenExport], server: Server, *, resolver: Resolver, names_s: float
) -> tuple[SeenExport, ...]:
    """The exports with addresses in place of names, and without portals outside of the server's networks.

    `names_s` bounds all look-ups together (seconds).
    """
    names = sorted({host for one in exports if one.plan for host in _names_in(one.plan)})
    addresses = await _look_up_all(names[:MAX_NAMES], resolver, names_s)
    return tuple(pin(one, server, addresses) for one in exports)


def pin(seen: SeenExport, server: Server, addresses: Mapping[str, Sequence[str] | str]) -> SeenExport:
    """One export with addresses only. `addresses` has for each name its addresses, or the reason why there are none."""
    if seen.plan is None:
        return seen
    if SERVERS in seen.plan:
        return _with_server(seen, seen.plan, server, addresses)
    if TARGETS in seen.plan:
        return _with_targets(seen, seen.plan, server)
    if "portals" not in seen.plan:
        return seen
    kept: dict[str, None] = {}
    dropped: list[str] = []
    for portal in seen.plan["portals"]:
        host, port = checks.split_portal(portal)
        found = _addresses_of(host, addresses)
        if isinstance(found, str):
            dropped.append(f"portal {portal}: {found}")
            continue
        for text in found:
            _sort_out(text, port, server, kept, dropped)
    return _with_portals(seen, list(kept)[: iscsi_export.MAX_PORTALS], dropped)


def _with_targets(seen: SeenExport, plan: Mapping[str, Any], server: Server) -> SeenExport:
    """A Fibre Channel export with those of its ports that the configuration allows, where it names any."""
    allowed = server.storage_wwpns or plan[TARGETS]
    kept = [port for port in plan[TARGETS] if port in allowed]
    dropped = [checks.with_colons(port) for port in plan[TARGETS] if port not in allowed]
    texts = [f"target port {port} is not among storage_wwpns of this server" for port in dropped]
    if kept:
        left_out = tuple(f"left out: {text}" for text in texts)
        return replace(seen, plan={**plan, TARGETS: kept}, notes=(*seen.notes, *left_out))
    return replace(seen, usable=False, reason="; ".join(texts), plan=None, hint=_WWPN_HINT, notes=())


def _addresses_of(host: str, addresses: Mapping[str, Sequence[str] | str]) -> Sequence[str] | str:
    return [host] if _is_address(host) else addresses.get(host, f"more than {MAX_NAMES} names in one object")


def _with_server(
    seen: SeenExport, plan: Mapping[str, Any], server: Server, addresses: Mapping[str, Sequence[str] | str]
) -> SeenExport:
    """An NFS export with the first address of its servers that may be dialled."""
    dropped: list[str] = []
    for host in plan[SERVERS]:
        found = _addresses_of(host, addresses)
        if isinstance(found, str):
            dropped.append(f"NFS server {host}: {found}")
            continue
        for text in found:
            try:
                address = nfs_checks.server(text)
                if allows(server.storage_networks, ipaddress.ip_address(address)):
                    kept = {name: value for name, value in plan.items() if name != SERVERS}
                    left_out = tuple(f"left out: {one}" for one in dict.fromkeys(dropped))
                    return replace(seen, plan={"server": address, **kept}, notes=(*seen.notes, *left_out))
            except (ValueError, Problem):
                address = ascii(text)[:80]
            shown_host = host if host == address else f"{host} ({address})"
            dropped.append(f"NFS server {shown_host} is outside storage_networks of this server ({_listed(server)})")
    reason = "; ".join(dict.fromkeys(dropped))
    return replace(seen, usable=False, reason=reason, plan=None, hint=_HINT, notes=())


def _sort_out(text: str, port: int, server: Server, kept: dict[str, None], dropped: list[str]) -> None:
    try:
        portal = iscsi_export.joined(ipaddress.ip_address(text), port, field="portal")
    except (ValueError, Problem):
        dropped.append(f"portal {ascii(text)[:80]}: not an address that can be dialled")
        return
    address = ipaddress.ip_address(checks.split_portal(portal)[0])
    if allows(server.storage_networks, address):
        kept[portal] = None
    else:
        dropped.append(f"portal {portal} is outside storage_networks of this server ({_listed(server)})")


def _listed(server: Server) -> str:
    return ", ".join(str(network) for network in server.storage_networks) or "none"


def _with_portals(seen: SeenExport, portals: list[str], dropped: list[str]) -> SeenExport:
    reason = "; ".join(dict.fromkeys(dropped))
    if not portals or seen.plan is None:
        return replace(seen, usable=False, reason=reason, plan=None, hint=_HINT, notes=())
    if dropped:
        log.warning("export %s: not used: %s", ascii(seen.key), reason)
    plan = iscsi.plan_of({**seen.plan, "portals": portals})
    left_out = tuple(f"left out: {one}" for one in dict.fromkeys(dropped))
    return replace(seen, plan=plan.as_json(), notes=(*seen.notes, *left_out))


async def _look_up_all(names: Sequence[str], resolver: Resolver, names_s: float) -> dict[str, Sequence[str] | str]:
    found = await asyncio.gather(*(_look_up(name, resolver, names_s) for name in names))
    return dict(zip(names, found, strict=True))


async def _look_up(name: str, resolver: Resolver, names_s: float) -> Sequence[str] | str:
    try:
        async with asyncio.timeout(names_s):
            return list(await resolver(name)) or "the name has no address"
    except TimeoutError:
        return f"the name was not resolved within {names_s:g} s"
    except (OSError, UnicodeError) as error:
        return f"the name cannot be resolved ({shown(str(error), 120)})"


def _names_in(plan: Mapping[str, Any]) -> list[str]:
    hosts = plan.get(SERVERS) or [checks.split_portal(portal)[0] for portal in plan.get("portals", ())]
    return [host for host in hosts if not _is_address(host)]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
