"""Who a guest is: names and addresses that follow from its name, so that no two guests share one."""

from __future__ import annotations

import hashlib
import re
import uuid
from dataclasses import dataclass

from tests.lab.errors import LabError

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


@dataclass(frozen=True)
class Identity:
    """What the guest's identity.sh writes."""

    hostname: str
    machine_id: str
    """32 hex digits, as in /etc/machine-id."""
    iqn: str
    host_uuid: str
    """libvirt's."""
    mac_seed: str
    """The first five bytes of MAC addresses made in this guest, with colons; software FCoE's WWPN is 0x2000 + MAC."""


def checked_name(name: str) -> str:
    """`name` if it can be a host name; it is a folder's name in the cache as well."""
    if NAME.fullmatch(name) is None:
        raise LabError(f"{name!r} cannot name a guest", remedy="use 1 to 32 of a-z, 0-9 and inner hyphens")
    return name


def identity(name: str) -> Identity:
    digits = hashlib.sha256(f"cdmi-attach lab guest {name}".encode()).hexdigest()
    return Identity(
        hostname=name,
        machine_id=uuid.UUID(hex=digits[:32], version=4).hex,
        iqn=f"iqn.1993-08.org.debian:01:{digits[:12]}",
        host_uuid=str(uuid.UUID(hex=digits[32:64], version=4)),
        mac_seed=":".join(["02", *(digits[at : at + 2] for at in range(0, 8, 2))]),
    )
