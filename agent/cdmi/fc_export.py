"""The members of a Fibre Channel export entry (docs/cdmi-fc.md; CDMI itself only has the name), read into a plan. Pure.

`Network/FC`, in CDMI 1.0's words `Network/FCoE`; in 2.0 any name with `"type": "FC"` or `"FCoE"`.
"""

from collections.abc import Mapping
from typing import Any

from agent.cdmi.iscsi_export import NotReadyError, good_ones, unit_name, unit_number
from attachers import checks, fc

PROTOCOL = "fc"
MAX_TARGETS = 64
_SERVERS_OWN = ("target_wwpns", "logical_unit_number")


def read(entry: Mapping[str, Any], path: str, *, size: int) -> dict[str, Any]:
    """The values of an `fc.Plan`. `path` is the entry's, for problems.

    Raises `NotReadyError`, and `Problem` naming the member that is malformed and what it may be.
    """
    missing = [name for name in _SERVERS_OWN if entry.get(name) in (None, "", [])]
    if missing:
        raise NotReadyError(f"not ready: the server has not filled in {', '.join(missing)} of {path}")
    plan = fc.Plan(
        targets=targets(entry["target_wwpns"], f"{path}.target_wwpns"),
        lun=number(entry["logical_unit_number"], f"{path}.logical_unit_number"),
        wwid=unit_name(entry.get("logical_unit_name"), f"{path}.logical_unit_name"),
        size=size,
    )
    return plan.as_json()


def number(value: object, field: str) -> int:
    """The LUN, also where it is written with the bits of its addressing method."""
    found = checks.plain_lun(unit_number(value, field))
    if found >= checks.FLAT:
        raise checks.refuse(field, value, f"a logical unit number from 0 to {checks.FLAT - 1}")
    return found


def targets(value: object, field: str) -> tuple[str, ...]:
    """The target ports in normal form, in order, each once; one alone may be a string."""
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or len(values) > MAX_TARGETS:
        raise checks.refuse(field, value, f"a list of at most {MAX_TARGETS} port names")
    return tuple(good_ones(values, field, port))


def port(value: object, field: str) -> str:
    """One port's name, in normal form."""
    return checks.wwpn(value if isinstance(value, str) else "", field=field)
