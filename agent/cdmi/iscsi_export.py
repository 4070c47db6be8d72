"""The members of an iSCSI export entry (CDMI 1.1 clause 13.7, 2.0 clause 13.5), read leniently into a plan. Pure."""

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attachers import checks, unit_names
from attachers.problems import Problem

PROTOCOL = "iscsi"
MAX_PORTALS = 16
_GROUP_TAG = re.compile(r",t,0x[0-9a-f]{1,4}", re.ASCII | re.IGNORECASE)
_UNIT_NAME = re.compile(r"(?:0x|naa\.)?([0-9a-f]{16}(?:[0-9a-f]{16})?)|(eui\.[0-9a-f]{16,32})", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?", re.ASCII)
_SERVERS_OWN = ("target_identifier", "portals", "logical_unit_number")


class NotReadyError(Exception):
    """The server has not yet filled in what it has to; or (not `pending`) somebody has switched the entry off."""

    def __init__(self, reason: str, *, pending: bool = True) -> None:
        super().__init__(reason)
        self.pending = pending
        self.hint = (
            "wait until the server has made the export, or see in its log why it does not"
            if pending
            else "let the server's administrator switch it on again"
        )


def read(entry: Mapping[str, Any], path: str, *, size: int) -> dict[str, Any]:
    """The values of an `iscsi.Plan`, except that portals may have host names. `path` is the entry's, for problems.

    Raises `NotReadyError`, and `Problem` naming the member that is malformed and what it may be.
    """
    missing = [name for name in _SERVERS_OWN if entry.get(name) in (None, "", [])]
    if missing:
        raise NotReadyError(f"not ready: the server has not filled in {', '.join(missing)} of {path}")
    return {
        "target": target(entry["target_identifier"], f"{path}.target_identifier"),
        "portals": portals(entry["portals"], f"{path}.portals"),
        "lun": unit_number(entry["logical_unit_number"], f"{path}.logical_unit_number"),
        "wwid": unit_name(entry.get("logical_unit_name"), f"{path}.logical_unit_name"),
        "size": size,
    }


def target(value: object, field: str) -> str:
    """The iSCSI name, without the portal group tag (`,t,0x0001`) that CDMI's examples append."""
    wanted = "an iSCSI name (iqn., eui. or naa.), with or without ,t,0x0001"
    if not isinstance(value, str):
        raise checks.refuse(field, value, wanted)
    name, comma, _ = value.partition(",")
    if comma and not _GROUP_TAG.fullmatch(value[len(name) :]):
        raise checks.refuse(field, value, wanted)
    return checks.iqn(name, field=field)


def unit_number(value: object, field: str) -> int:
    """The LUN: a string of digits as CDMI has it, or a number."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,5}", value, re.ASCII):
        return checks.lun(int(value), field=field)
    if isinstance(value, int) and not isinstance(value, bool):
        return checks.lun(value, field=field)
    raise checks.refuse(field, value, f"a logical unit number from 0 to {checks.MAX_LUN}")


def unit_name(value: object, field: str) -> str | None:
    """The logical unit's name as sysfs writes it; None where the entry has none. 0x... and plain digits are NAA.

    A name of zeros, or one of no company, is none: every unit that nobody has named has it.
    """
    wanted = "a logical unit name: 0x, naa. or nothing, and 16 or 32 hexadecimal digits"
    value = value.strip() if isinstance(value, str) else value
    if value is None or value == "":
        return None
    match = _UNIT_NAME.fullmatch(value.lower()) if isinstance(value, str) else None
    if not match:
        raise checks.refuse(field, value, wanted)
    wwid = checks.wwid(match[2] or f"naa.{match[1]}", field=field)
    return wwid if unit_names.is_name(wwid) else None


def portals(value: object, field: str) -> list[str]:
    """The portals in order, each once: `address:port` or `name:port`, lower case, 3260 where no port is given.

    One that cannot be dialled is left out (see `odd_ones`) as long as another one can (attach.md, case 85).
    """
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or len(values) > MAX_PORTALS:
        raise checks.refuse(field, value, f"a list of at most {MAX_PORTALS} portals")
    return good_ones(values, field, portal)


def good_ones(values: Sequence[object], field: str, check: Callable[[object, str], str]) -> list[str]:
    """Those members of a list that pass a check, each once. Raises the first one's `Problem` where none does."""
    found, refused = [], []
    for place, one in enumerate(values):
        try:
            found.append(check(one, f"{field}[{place}]"))
        except Problem as problem:
            refused.append(problem)
    if refused and not found:
        raise refused[0]
    return list(dict.fromkeys(found))


def odd_ones(value: object, field: str, check: Callable[[object, str], str]) -> list[str]:
    """What is wrong with each of the others."""
    said = []
    for place, one in enumerate(value if isinstance(value, list) else []):
        try:
            check(one, f"{field}[{place}]")
        except Problem as problem:
            said.append(f"left out: {problem.detail}")
    return said


def portal(value: object, field: str) -> str:
    """One portal of the forms host, host:port, [v6]:port, v6, each also with `,tpgt`."""
    wanted = "a portal such as 10.0.0.1:3260, [fd00::1]:3260 or san.example.org"
    if not isinstance(value, str) or len(value) > 300 or not re.fullmatch(r"[^,]+(?:,\d{1,5})?", value, re.ASCII):
        raise checks.refuse(field, value, wanted)
    host, port = checks.split_portal(value, field=field)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if not _HOST.fullmatch(host):
            raise checks.refuse(field, value, wanted) from None
        return f"{host.lower()}:{port}"
    return joined(address, port, field=field)


def joined(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, *, field: str) -> str:
    """The canonical portal; an IPv4 address in IPv6's clothes is shown as what it is, a scope is refused."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            raise checks.refuse(field, str(address), "an address without a scope")
        address = address.ipv4_mapped or address
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
