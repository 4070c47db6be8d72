"""The ways to a target, whatever the transport: iSCSI sessions, or Fibre Channel ports."""

from agent.host import fc_sysfs, sysfs
from agent.host.roots import Roots
from attachers import checks
from attachers.sights import FcQuery, ScsiQuery, Session


def sessions(roots: Roots, target: str) -> tuple[Session, ...]:
    """Every way to a target, by its iSCSI name or its port's name in normal form, whosever it is."""
    return fc_sysfs.sessions(roots, (target,)) if checks.is_wwpn(target) else sysfs.sessions(roots, target)


def asked_for(roots: Roots, query: ScsiQuery) -> tuple[Session, ...]:
    """Every way to the target, or the targets, of a query."""
    return (
        fc_sysfs.sessions(roots, query.targets) if isinstance(query, FcQuery) else sysfs.sessions(roots, query.target)
    )


def may_be(query: ScsiQuery, number: int) -> bool:
    """Whether what the kernel counts so may be the LUN asked for.

    FC: the kernel takes the form of the number from the array. iSCSI: where there is a name to tell the unit by.
    """
    if isinstance(query, FcQuery):
        return checks.plain_lun(number) == query.lun
    return number in (checks.lun_forms(query.lun) if query.wwid else (query.lun,))
