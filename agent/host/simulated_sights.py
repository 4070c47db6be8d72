"""What a simulated host shows: the answers to the queries of attachers/sights.py."""

from agent.host.simulated_kernel import Device, Kernel, Session
from attachers import sights
from attachers.sights import DomainQuery, DomainSight, HostQuery, HostSight, IscsiQuery, Query, ScsiSight, Sight
from attachers.steps import DEVICES, Step


def see(kernel: Kernel, query: Query, running: tuple[Step, ...]) -> Sight:
    """Answer a query. `running` are the steps whose outcome is not known yet."""
    match query:
        case IscsiQuery():
            return _iscsi(kernel, query, running)
        case DomainQuery():
            return _domain(kernel, query, running)
        case HostQuery():
            return _host(kernel, len(running))


def _iscsi(kernel: Kernel, query: IscsiQuery, running: tuple[Step, ...]) -> ScsiSight:
    sessions = [s for s in kernel.sessions.values() if s.target == query.target and s.portal in query.portals]
    link = kernel.links.get(query.name)
    wwid = query.wwid or (link or "").removeprefix(f"{DEVICES}/")
    linked = kernel.device(kernel.device_links.get(wwid, ""))
    return ScsiSight(
        records=tuple(sights.Record(t, p) for t, p in kernel.records if t == query.target and p in query.portals),
        sessions=tuple(sights.Session(s.sid, s.host, s.target, s.portal, s.state, tuple(s.devices)) for s in sessions),
        paths=tuple(_path(kernel, s, d, query) for s in sessions for d in s.devices.values() if d.lun == query.lun),
        link=link,
        device_link=linked[1].node if linked else None,
        owner=linked[1].owner if linked else "",
        busy=tuple(step.describe() for step in running if _touches(kernel, step, query)),
    )


def _path(kernel: Kernel, session: Session, device: Device, query: IscsiQuery) -> sights.ScsiPath:
    identity = kernel.identity(session, device)
    return sights.ScsiPath(
        hctl=device.hctl,
        via=session.portal,
        node=device.node,
        state="running",
        size=device.size if device.node else 0,
        read_only=device.read_only or device.set_read_only,
        sysfs_wwid=device.wwid,
        designators=frozenset({identity} if identity else ()),
        inquiry_error="" if identity else "no answer",
        holders=tuple(device.holders) if query.holders else None,
    )


def _touches(kernel: Kernel, step: Step, query: IscsiQuery) -> bool:
    """Whether a running step may still change what this query looks at."""
    if getattr(step, "name", None) == query.name:
        return True
    if hctl := getattr(step, "hctl", None):
        found = kernel.device(hctl)
        if found and found[0].target == query.target:
            return True
    return getattr(step, "target", None) == query.target and getattr(step, "portal", "") in query.portals


def _domain(kernel: Kernel, query: DomainQuery, running: tuple[Step, ...]) -> DomainSight:
    domain = kernel.domains.get(query.domain)
    return DomainSight(
        exists=domain is not None,
        active=domain is not None and domain.active,
        disks=tuple(sights.DomainDisk(place, source) for place, source in domain.disks.items()) if domain else (),
        busy=tuple(step.describe() for step in running if getattr(step, "domain", None) == query.domain),
    )


def _host(kernel: Kernel, stragglers: int) -> HostSight:
    works = sights.Ability(available=True)
    return HostSight(
        hostname="simulated",
        initiator_name=kernel.initiator,
        wwpns=(),
        iscsi=works,
        libvirt=works,
        kernel="simulated",
        boot_id=kernel.boot_id,
        stragglers=stragglers,
    )
