"""What hosts are called in the `permissions` of exports, and when two spellings mean the same host. Pure."""

from agent.cdmi import nfs_hosts
from attachers import checks
from attachers.problems import Code, Problem
from attachers.sights import HostSight

LEAVING = {"iscsi": "iqn.2026-01.invalid.cdmi-attach:leaving", "fc": "feffffffffffffff"}
"""What stands in the permissions of an export that is being removed, so that nobody takes it for an idle one: no host
has these names (`.invalid`: RFC 2606)."""


def of_host(protocol: str, host: HostSight) -> tuple[str, ...]:
    """The names of this host that an export of that protocol has to permit, every FC port of its own.

    Raises `Problem` (`unsupported-on-host`) where the host has none.
    """
    if protocol != "fc":
        return (host.initiator_name,)
    if not host.wwpns:
        hint = "load the driver of the host's HBA, or make an FCoE port; see: cdmi-attach doctor"
        raise Problem(Code.UNSUPPORTED_ON_HOST, "this host has no Fibre Channel port", hint=hint)
    return host.wwpns


def normal(name: str) -> str:
    """The form in which two spellings of one name are equal: FC port names in 16 digits, all others without case.

    A host in a list of an NFS export is "rw_hosts 10.0.0.1": see `nfs_hosts`.
    """
    if " " in name:
        return nfs_hosts.normal(name)
    try:
        return checks.wwpn(name)
    except Problem:
        return name.casefold()


def same(one: str, other: str) -> bool:
    """Whether two spellings are of one name."""
    return normal(one) == normal(other)
