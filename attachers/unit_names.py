"""The names of logical units: which count, which say nothing, and the one by which a unit with several is known. Pure.

SPC-4 7.8.6: NAA and EUI-64 designators, and SCSI name strings of these two kinds. A name of another kind (T10 vendor
ID, an iSCSI name, a UUID) is no name here: it is neither proof, nor does it contradict one.
"""

from collections.abc import Collection

from attachers import checks

KINDS = {
    0x00: "disk",
    0x01: "tape drive",
    0x02: "printer",
    0x03: "processor",
    0x04: "write-once disk",
    0x05: "CD or DVD drive",
    0x06: "scanner",
    0x07: "optical disk",
    0x08: "medium changer",
    0x0C: "storage array controller",
    0x0D: "enclosure",
    0x0E: "simplified disk",
    0x11: "object store",
    0x14: "host-managed zoned disk",
    0x1E: "well known logical unit",
    0x1F: "unit of no known kind",
}
"""Peripheral device types (SPC-4 table 139), as people know them."""
_OUI_AT = {"naa.2": 8, "naa.5": 5, "naa.6": 5}
"""Where a registered name has the number of the company that gave it (SPC-4 7.8.6.6), in its text."""
_OUI_DIGITS = 6
_LOCAL = "naa.3"


def kind_of(number: int) -> str:
    """What a logical unit of that peripheral device type is, for a sentence; empty for a disk."""
    return "" if number == 0 else KINDS.get(number, f"unit of peripheral device type {number}")


def is_name(text: str) -> bool:
    """Whether it is a name that tells one logical unit from all others.

    A name without a company (a field that nobody filled in) is none, however well formed. A locally assigned name is
    one, as far as its network goes: see `is_local`.
    """
    if not checks.WWID.fullmatch(text):
        return False
    if text.startswith(_LOCAL):
        return len(text) == len(_LOCAL) + 15 and text[len(_LOCAL) :].strip("0") != ""
    return text[_oui_at(text) :][:_OUI_DIGITS].strip("0") != "" if _oui_at(text) else False


def _oui_at(text: str) -> int:
    """Where the company's number is; 0 in a name of a kind that has none."""
    if text.startswith("eui."):  # with 16 bytes, 8 that are the vendor's own come first (SPC-4 7.8.6.5.4)
        return 4 + 16 if len(text) == 4 + 32 else 4
    kind = text[:5]
    right = len(text) == 4 + (32 if kind == "naa.6" else 16)
    return _OUI_AT.get(kind, 0) if right else 0


def is_local(wwid: str | None) -> bool:
    """Whether whoever runs the storage gave the name (NAA 3): nobody sees to it that no other unit has it, too."""
    return wwid is not None and wwid.startswith(_LOCAL)


def main(names: Collection[str]) -> str | None:
    """The name by which a unit is known: that which udev and multipath take, too (the longest NAA name before EUI).

    None where it has none. /lib/udev/scsi_id, id_search_list; drivers/scsi/scsi_lib.c designator_prio.
    """
    return min(names, key=_rank, default=None)


def _rank(name: str) -> tuple[bool, bool, int, str]:
    return is_local(name), not name.startswith("naa."), -len(name), name


def as_kernel_has(text: str | None) -> str | None:
    """What the kernel remembers of a unit (sysfs `wwid`), in one spelling; None where it remembers nothing.

    It passes on a SCSI name string as it is: in capitals, and with the NULs that fill it up (SPC-4 7.8.6.11).
    """
    plain = (text or "").rstrip("\0 ")
    return (plain.lower() if plain[:4].lower() in ("naa.", "eui.") else plain) or None
