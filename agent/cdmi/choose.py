"""Which export of an object is used, or why none is. Pure."""

from collections.abc import Collection, Sequence

from agent.model import Resolved, SeenExport
from attachers.problems import Code, Problem

MAX_REASONS = 2000


def candidates(resolved: Resolved, protocols: Sequence[str], *, passed: Collection[str] = ()) -> list[SeenExport]:
    """The usable exports in the order of preference, without those (their keys) that were tried in vain."""
    usable = [export for export in resolved.exports if export.usable and export.key not in passed]
    return [export for protocol in protocols for export in usable if export.protocol == protocol]


def choose(resolved: Resolved, protocols: Sequence[str], *, passed: Collection[str] = ()) -> SeenExport:
    """The first usable export of the most preferred protocol. Raises `Problem` no-usable-export, which says it all."""
    if resolved.pending:
        hint = "wait until the server has made it"
        raise Problem(Code.NO_USABLE_EXPORT, f"{resolved.uri} is not ready: {resolved.pending}", hint=hint)
    for export in candidates(resolved, protocols, passed=passed):
        return export
    wanted = ", ".join(protocols)
    if not resolved.exports:
        raise Problem(Code.NO_USABLE_EXPORT, f"{resolved.uri} {_without(resolved)}", hint=_remedy(resolved, wanted))
    reasons = "; ".join(f"{_shown(export)}: {_why_not(export, wanted)}" for export in resolved.exports)
    if len(reasons) > MAX_REASONS:
        reasons = f"{reasons[:MAX_REASONS]}... (all of it: cdmi-attach resolve)"
    raise Problem(
        Code.NO_USABLE_EXPORT,
        f"{resolved.uri} has no export that can be used ({wanted}): {reasons}",
        hint=_remedy(resolved, wanted),
    )


def _shown(export: SeenExport) -> str:
    return f"{export.key} of {export.at}" if export.at else export.key


def _why_not(export: SeenExport, wanted: str) -> str:
    return export.reason or f"{export.protocol} is usable, but only {wanted} may be used"


def _without(resolved: Resolved) -> str:
    if resolved.kind == "dataobject":
        ways = "; ".join(f"{container.uri} {container.says}" for container in resolved.above)
        return f"is a data object, and no container above it has exports ({ways or 'none is known'})"
    return "has no exports (or its ACL hides them from the configured user)"


def _remedy(resolved: Resolved, wanted: str) -> str:
    if any("storage_networks" in export.reason for export in resolved.exports):
        return "add that network to storage_networks of this [[server]], if it is a storage network of yours"
    if resolved.kind == "dataobject":
        return "let the server export a container above it over NFSv4, or use a container that is a LUN as the source"
    if any(export.pending for export in resolved.exports):
        return "wait until the server has made the export, or see in its log why it does not"
    if any(export.protocol in wanted for export in resolved.exports):
        return f"correct the export on the server; the container has to be exported over one of: {wanted}"
    return f"let the server export the container over one of: {wanted}"
