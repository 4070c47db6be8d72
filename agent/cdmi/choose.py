"""Which export of an object is used, or why none is. Pure."""

from collections.abc import Sequence

from agent.model import Resolved, SeenExport
from attachers.problems import Code, Problem


def choose(resolved: Resolved, protocols: Sequence[str]) -> SeenExport:
    """The first usable export of the most preferred protocol. Raises `Problem` no-usable-export, which says it all."""
    for protocol in protocols:
        for export in resolved.exports:
            if export.usable and export.protocol == protocol:
                return export
    wanted = ", ".join(protocols)
    if not resolved.exports:
        raise Problem(Code.NO_USABLE_EXPORT, f"{resolved.uri} {_without(resolved)}", hint=_remedy(resolved, wanted))
    reasons = "; ".join(f"{export.key}: {_why_not(export, wanted)}" for export in resolved.exports)
    raise Problem(
        Code.NO_USABLE_EXPORT,
        f"{resolved.uri} has no export that can be used ({wanted}): {reasons}",
        hint=_remedy(resolved, wanted),
    )


def _why_not(export: SeenExport, wanted: str) -> str:
    return export.reason or f"{export.protocol} is usable, but only {wanted} may be used"


def _without(resolved: Resolved) -> str:
    if resolved.kind == "dataobject":
        return "is a data object without exports of its own; its container's are not looked at in this version"
    return "has no exports (or its ACL hides them from the configured user)"


def _remedy(resolved: Resolved, wanted: str) -> str:
    if resolved.kind == "dataobject":
        return "use the container that is exported as a LUN as the source"
    if any("storage_networks" in export.reason for export in resolved.exports):
        return "add the portals' network to storage_networks of this [[server]], if it is a storage network of yours"
    if any(export.protocol in wanted for export in resolved.exports):
        return f"correct the export on the server; the container has to be exported over one of: {wanted}"
    return f"let the server export the container over one of: {wanted}"
