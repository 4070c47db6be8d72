"""What a simulated host shows: the answers to the queries of attachers/sights.py."""

from agent.host import nexus, simulated_blocks, simulated_nfs
from agent.host.simulated_fabric import ports
from agent.host.simulated_kernel import Device, Kernel, Session
from agent.host.simulated_maps import notes_of, see_map
from attachers import scsi, sights
from attachers.sights import (
    LOGGED_IN,
    BlocksQuery,
    DomainQuery,
    DomainSight,
    FcQuery,
    HostQuery,
    HostSight,
    IscsiQuery,
    NfsQuery,
    Query,
    RecordQuery,
    RouteQuery,
    ScsiQuery,
    ScsiSight,
    Sight,
)
from attachers.steps import DEVICES, Step


def see(kernel: Kernel, query: Query, running: tuple[Step, ...]) -> Sight:
    """Answer a query. `running` are the steps whose outcome is not known yet."""
    match query:
        case IscsiQuery() | FcQuery():
            return _scsi(kernel, query, running)
        case NfsQuery():
            return simulated_nfs.see(kernel, query, running)
        case DomainQuery():
            return _domain(kernel, query, running)
        case BlocksQuery():
            return simulated_blocks.see(kernel, query)
        case HostQuery(iface):
            return _host(kernel, iface, len(running))
        case RouteQuery(server):
            return simulated_nfs.route(kernel, server)
        case RecordQuery():
            return sights.RecordSight(dead=_dead(kernel))


def _dead(kernel: Kernel) -> tuple[sights.Dead, ...]:
    runs = {device.hctl: device.state == "running" for _, device in kernel.devices()}
    disks = [d for _, d in kernel.devices() if d.state != "running"]
    above = {hctl for one in kernel.maps.values() for hctl in one.paths}
    return (
        *(sights.Dead("disk", d.node or "", f"the kernel says {d.state}", d.hctl, d.hctl in above) for d in disks),
        *(
            sights.Dead("map", one.node, "none of its paths runs" if one.paths else "it has no path")
            for one in kernel.maps.values()
            if not any(runs.get(hctl) for hctl in one.paths)
        ),
    )


def _scsi(kernel: Kernel, query: ScsiQuery, running: tuple[Step, ...]) -> ScsiSight:
    sessions = [s for s in kernel.sessions.values() if _is_of(query, s.target)]
    link = kernel.links.get(query.name)
    paths = tuple(_path(kernel, s, d, query) for s, d in _asked_for(query, sessions))
    wwid = query.wwid or (link or "").removeprefix(f"{DEVICES}/")
    at = kernel.device_links.get(wwid, "")
    linked = kernel.device(at)
    node, owner = (linked[1].node, linked[1].owner) if linked else (None, "")
    for above in [one for one in kernel.maps.values() if one.node == at]:
        node, owner = above.node, above.owner
    return ScsiSight(
        records=tuple(
            sights.Record(t, p, flaw=kernel.flaws.get((t, p), "")) for t, p in kernel.records if _is_at(query, t, p)
        ),
        sessions=tuple(_session(s) for s in sessions),
        paths=paths,
        link=link,
        device_link=node,
        owner=owner,
        busy=tuple(step.describe() for step in running if _touches(kernel, step, query)),
        ports=ports(kernel) if isinstance(query, FcQuery) and not _usable(sessions) else (),
        map=see_map(kernel, wwid, holders=query.holders),
        notes=notes_of(kernel, wwid),
        main=scsi.main_name(paths, query.wwid),
        wwid=wwid if wwid not in ("", query.wwid) else None,
        users=tuple(kernel.users(wwid)) if query.holders else None,
        dirty=bool({wwid, query.wwid} & kernel.unwritten),
        kept=linked is None or kernel.proofs.get(at) == wwid,
    )


def _is_of(query: ScsiQuery, target: str) -> bool:
    """Every way to a target is shown, whether it was asked for or not."""
    return target in query.targets if isinstance(query, FcQuery) else target == query.target


def _is_at(query: ScsiQuery, target: str, portal: str) -> bool:
    if isinstance(query, FcQuery):
        return target in query.targets
    return target == query.target and portal in query.portals


def _asked_for(query: ScsiQuery, sessions: list[Session]) -> list[tuple[Session, Device]]:
    devices = [(session, device) for session in sessions for device in session.devices.values()]
    return [(session, device) for session, device in devices if nexus.may_be(query, device.lun)]


def _usable(sessions: list[Session]) -> bool:
    return any(session.state == LOGGED_IN for session in sessions)


def _session(session: Session) -> sights.Session:
    return sights.Session(
        session.sid,
        session.host,
        session.target,
        session.portal,
        session.state,
        tuple(session.devices),
        target_id=session.target_id,
    )


def _path(kernel: Kernel, session: Session, device: Device, query: ScsiQuery) -> sights.ScsiPath:
    names = kernel.names(session, device)
    access = kernel.access(session, device)
    return sights.ScsiPath(
        hctl=device.hctl,
        via=_session(session).via,
        node=device.node,
        state=device.state,
        size=device.size if device.node else 0,
        read_only=device.read_only or device.set_read_only,
        sysfs_wwid=device.wwid,
        designators=names,
        inquiry_error="" if names else "no answer" if device.state == "running" else f"the device is {device.state}",
        holders=tuple(device.holders) if query.holders else None,
        unread="Input/output error" if names and access and query.read else "",
        access=access if names else "",
    )


def _touches(kernel: Kernel, step: Step, query: ScsiQuery) -> bool:
    """Whether a running step may still change what this query looks at."""
    if getattr(step, "name", None) == query.name:
        return True
    if query.wwid is not None and getattr(step, "wwid", None) == query.wwid:
        return True
    if hctl := getattr(step, "hctl", None):
        found = kernel.device(hctl)
        if found and _is_at(query, found[0].target, found[0].portal):
            return True
    return _is_at(query, getattr(step, "target", ""), getattr(step, "portal", ""))


def _domain(kernel: Kernel, query: DomainQuery, running: tuple[Step, ...]) -> DomainSight:
    domain = kernel.domains.get(query.domain)
    return DomainSight(
        exists=domain is not None,
        active=domain is not None and domain.active,
        runs=domain is not None and domain.active and not domain.paused,
        disks=tuple(sights.DomainDisk(place, source) for place, source in domain.disks.items()) if domain else (),
        busy=tuple(step.describe() for step in running if getattr(step, "domain", None) == query.domain),
    )


def _host(kernel: Kernel, iface: str, stragglers: int) -> HostSight:
    name = kernel.ifaces.get(iface, kernel.initiator)
    works = sights.Ability(available=True)
    maps = works if kernel.multipathd.runs else sights.Ability(False, "multipathd does not run on this host")
    return HostSight(
        hostname="simulated",
        initiator_name=name,
        own_name="" if name == kernel.initiator else kernel.initiator,
        wwpns=tuple(port.wwpn for port in ports(kernel)),
        iscsi=works,
        fc=works if ports(kernel) else sights.Ability(available=False, reason="the simulated host has no FC port"),
        nfs=works,
        libvirt=works,
        kernel="simulated",
        boot_id=kernel.boot_id,
        stragglers=stragglers,
        multipath=maps,
    )
