"""Attachments as the API shows them: the JSON objects of docs/api.md, made from the ledger's rows."""

from dataclasses import asdict
from typing import Any

from agent.engine.ledger import Row
from agent.engine.moving import left_of
from agent.model import Access, Resolved, SeenExport
from attachers.disk_xml import disk_xml
from attachers.problems import Problem
from attachers.sights import HostSight
from attachers.steps import LINKS


def view_of(row: Row, steps: list[dict[str, Any]]) -> dict[str, Any]:
    """One attachment. `device`, `link` and `disk_xml` are there only while the device may be used.

    What an earlier daemon wrote down is shown once it was looked at: after a boot its node may be another disk's.
    """
    device = row.device if row.seen else None
    usable = device is not None
    return {
        "name": row.name,
        "source": row.request.source,
        "access": str(row.request.access),
        "phase": str(row.phase),
        "protocol": row.protocol or None,
        "object_id": row.object_id or None,
        "uri": row.uri or None,
        "share": row.request.share,
        "generation": row.request.generation,
        "lease": {"seconds": row.lease.seconds, "ends": row.lease.ends or None} if row.lease else None,
        "verified": row.verified and row.seen,
        "link": f"{LINKS}/{row.name}" if usable else None,
        "device": asdict(device) | {"paths": [asdict(p) for p in device.paths]} if device else None,
        "disk_xml": _disk_xml(row) if usable else None,
        "domains": [
            {"name": given.name, "target": given.target, "state": "dead" if given.name in row.dead else "given"}
            for given in row.domains
        ],
        "tainted": list(row.tainted),
        "steps": steps,
        "problem": dict(row.problem) if row.problem else None,
        "note": "; ".join(text for text in (row.note, row.caveat, _replug(row), left_of(row.former)) if text) or None,
    }


def _replug(row: Row) -> str:
    if not row.dead:
        return ""
    return f"{', '.join(row.dead)}: only a re-plug gives the domain the disk back that is here now"


def _disk_xml(row: Row) -> str:
    domain = row.request.domain
    target, bus = (domain.target, domain.bus) if domain else ("sda", "scsi")
    kind = row.device.kind if row.device else "block"
    return disk_xml(row.name, target, bus, read_only=row.request.access is Access.RO, kind=kind)


def host_view(sight: HostSight, *, multipath: str) -> dict[str, Any]:
    """What the host is and can do; `multipath` is the setting."""
    return {
        "hostname": sight.hostname,
        "initiator_name": sight.initiator_name,
        "wwpns": list(sight.wwpns),
        "protocols": {"iscsi": asdict(sight.iscsi), "fc": asdict(sight.fc), "nfs": asdict(sight.nfs)},
        "multipath": asdict(sight.multipath) | {"setting": multipath},
        "libvirt": asdict(sight.libvirt),
        "kernel": sight.kernel,
        "stragglers": sight.stragglers,
    }


def explanation_of(
    source: str, resolved: Resolved, chosen: SeenExport | None, problem: Problem | None
) -> dict[str, Any]:
    """What a source is: the object, every export seen, the one that would be used, and why not the others."""
    return {
        "source": source,
        "server": resolved.server,
        "uri": resolved.uri,
        "object_id": resolved.object_id,
        "name": resolved.name,
        "kind": resolved.kind,
        "size": resolved.size,
        "pending": resolved.pending or None,
        "version": resolved.version or None,
        "exports": [
            {
                "key": export.key,
                "protocol": export.protocol,
                "usable": export.usable,
                "at": export.at or None,
                "used": export is chosen,
                "pending": export.pending,
                "hint": export.hint,
                "notes": list(export.notes),
                "reason": export.reason,
                "permissions": None if export.permissions is None else list(export.permissions),
                "plan": dict(export.plan) if export.plan is not None else None,
            }
            for export in resolved.exports
        ],
        "above": [asdict(container) for container in resolved.above],
        "problem": problem.as_dict() if problem else None,
    }
