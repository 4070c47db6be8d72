"""What sysfs shows of Fibre Channel: this host's ports, the remote ports they see, and the disks behind them.

Whatever cannot be read, of one port, leaves the others as they are (attach.md, case 15).
"""

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from agent.host.roots import Roots
from agent.host.sysfs import entries, text
from attachers import checks
from attachers.problems import Problem
from attachers.sights import LOGGED_IN, FcPort, Session

USABLE = ("Online", "Marginal")
"""The states of a remote port that the kernel scans and sends commands to (scsi_transport_fc.c fc_user_scan_tgt)."""
TARGET = "FCP Target"
_RPORT = re.compile(r"rport-(\d+):(\d+)-(\d+)", re.ASCII)
_STARGET = re.compile(r"target(\d+):(\d+):(\d+)", re.ASCII)


NO_PORT = "this host has no Fibre Channel port"
"""Why Fibre Channel cannot be used where there is no fc_host."""


@dataclass(frozen=True, slots=True)
class RemotePort:
    """A remote port as one SCSI host sees it. `target_id` is None where the kernel has bound it to no SCSI target."""

    host: int
    channel: int
    number: int
    wwpn: str
    state: str
    roles: str
    target_id: int | None
    place: str


def wwpns(roots: Roots) -> tuple[str, ...]:
    """The names of this host's ports, in normal form, each once."""
    return tuple(dict.fromkeys(_locals(roots).values()))


def local(roots: Roots, hctl: str) -> str | None:
    """The name of the local port that has the SCSI host of an address now; None where that is no FC port."""
    return _wwpn(f"{roots.sys}/class/fc_host/host{hctl.partition(':')[0]}/port_name")


def ports(roots: Roots) -> tuple[FcPort, ...]:
    """This host's ports, each with the remote ports that it sees, in words."""
    remote = list(_remote_ports(roots))
    return tuple(
        FcPort(
            wwpn,
            host,
            text(f"{roots.sys}/class/fc_host/host{host}/port_state") or "unknown",
            tuple(_in_words(port) for port in remote if port.host == host),
        )
        for host, wwpn in _locals(roots).items()
    )


def _in_words(port: RemotePort) -> str:
    return f"{checks.with_colons(port.wwpn)} {port.state} ({port.roles or 'no role'})"


def sessions(roots: Roots, targets: Collection[str]) -> tuple[Session, ...]:
    """Every way from this host to these target ports: remote ports first, then targets without one."""
    local = _locals(roots)
    seen = [
        Session(
            sid=port.number,
            host=port.host,
            target=port.wwpn,
            portal=local[port.host],
            state=_state(port),
            devices=_devices(port),
            channel=port.channel,
            target_id=port.target_id or 0,
        )
        for port in _remote_ports(roots)
        if port.wwpn in targets and port.host in local
    ]
    known = {(one.host, one.channel, one.target_id) for one in seen}
    return (*seen, *(one for one in _targets(roots, targets, local) if _place(one) not in known))


def _place(session: Session) -> tuple[int, int, int]:
    return session.host, session.channel, session.target_id


def _state(port: RemotePort) -> str:
    if port.state not in USABLE:
        return port.state
    return LOGGED_IN if TARGET in port.roles and port.target_id is not None else f"{port.state}, but no {TARGET}"


def _targets(roots: Roots, targets: Collection[str], local: dict[int, str]) -> Iterator[Session]:
    """SCSI targets of drivers that show no remote port for them: fc_transport/targetH:C:T/port_name."""
    for name in entries(f"{roots.sys}/class/fc_transport"):
        match = _STARGET.fullmatch(name)
        wwpn = _wwpn(f"{roots.sys}/class/fc_transport/{name}/port_name")
        if match is None or wwpn is None or wwpn not in targets or int(match[1]) not in local:
            continue
        host, channel, target = (int(part) for part in match.groups())
        state = text(f"{roots.sys}/class/fc_host/host{host}/port_state") or "unknown"
        place = f"{roots.sys}/class/fc_transport/{name}/device"
        devices = tuple(entry for entry in entries(place) if checks.HCTL.fullmatch(entry))
        shown = LOGGED_IN if state in USABLE else state
        yield Session(target, host, wwpn, local[host], shown, devices, channel=channel, target_id=target)


def _locals(roots: Roots) -> dict[int, str]:
    """SCSI host number -> port name."""
    names = [name for name in entries(f"{roots.sys}/class/fc_host") if re.fullmatch(r"host\d+", name, re.ASCII)]
    found = {int(name[4:]): _wwpn(f"{roots.sys}/class/fc_host/{name}/port_name") for name in names}
    return {host: wwpn for host, wwpn in sorted(found.items()) if wwpn}


def _remote_ports(roots: Roots) -> Iterator[RemotePort]:
    for name in entries(f"{roots.sys}/class/fc_remote_ports"):
        match, shown = _RPORT.fullmatch(name), f"{roots.sys}/class/fc_remote_ports/{name}"
        wwpn = _wwpn(f"{shown}/port_name")
        if match is None or wwpn is None:
            continue
        host, channel, number = (int(part) for part in match.groups())
        target_id = text(f"{shown}/scsi_target_id") or ""
        yield RemotePort(
            host,
            channel,
            number,
            wwpn,
            state=text(f"{shown}/port_state") or "unknown",
            roles=text(f"{shown}/roles") or "",
            target_id=int(target_id) if target_id.isascii() and target_id.isdigit() else None,  # -1: none
            place=f"{shown}/device",
        )


def _devices(port: RemotePort) -> tuple[str, ...]:
    """The disks below a remote port's own target, in place of all in the class: their parent says whose they are."""
    target = f"{port.place}/target{port.host}:{port.channel}:{port.target_id}"
    return tuple(name for name in entries(os.path.realpath(target)) if checks.HCTL.fullmatch(name))


def _wwpn(attribute: str) -> str | None:
    try:
        return checks.wwpn(text(attribute) or "")
    except Problem:
        return None
