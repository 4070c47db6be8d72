"""What names from outside may look like; each check returns its canonical form or raises a `Problem`."""

import ipaddress
import re
from functools import lru_cache

from attachers.problems import Code, Problem

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
HCTL = re.compile(r"\d{1,10}:\d{1,10}:\d{1,10}:\d{1,10}", re.ASCII)
WWID = re.compile(r"naa\.[0-9a-f]{16}(?:[0-9a-f]{16})?|eui\.[0-9a-f]{16}(?:[0-9a-f]{8}|[0-9a-f]{16})?", re.ASCII)
ISCSI_NAME = re.compile(r"(?=[^.:]*[.:])[A-Za-z0-9](?:[A-Za-z0-9._:-]*[A-Za-z0-9_-])?", re.ASCII)
MOST_OF_NAME = 223
WWPN = re.compile(r"[0-9a-f]{16}", re.ASCII)
_WWPN_SPELT = re.compile(r"(?:0x|naa\.)?([0-9a-f]{16}|[0-9a-f]{2}(?:[:-][0-9a-f]{2}){7})", re.ASCII | re.IGNORECASE)
DOMAIN = re.compile(r"[A-Za-z0-9_.+:-]{1,128}", re.ASCII)
DISK_TARGET = re.compile(r"(?:sd|vd|hd|xvd)[a-z]{1,3}", re.ASCII)
OWNER = re.compile(r"[a-z_][a-z0-9_-]{0,31}:[a-z_][a-z0-9_-]{0,31}", re.ASCII)
SERVER = re.compile(r"https?://[A-Za-z0-9._~:/\[\]-]{1,500}/", re.ASCII)
IFACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,63}", re.ASCII)
MAX_LUN = 65535
"""A single-level LUN (SAM-5 4.7) is two bytes, which the kernel counts as they are (drivers/scsi/scsi_common.c
scsilun_to_int): an array that addresses flat says 16684 for its LUN 300.
"""
ISCSI_PORT = 3260


def refuse(field: str, value: object, wanted: str) -> Problem:
    """The problem that says which field is wrong, and what it may be. The value is shortened and escaped."""
    return Problem(Code.INVALID_REQUEST, f"{field}: {ascii(value)[:120]} is not {wanted}", hint=f"give {wanted}")


def _match(pattern: re.Pattern[str], field: str, value: str, wanted: str) -> str:
    if not pattern.fullmatch(value):
        raise refuse(field, value, wanted)
    return value


def name(value: str, *, field: str = "name") -> str:
    """An attachment's name."""
    return _match(NAME, field, value, "1 to 128 of A-Z a-z 0-9 . _ -, starting with a letter or digit")


def hctl(value: str, *, field: str = "hctl") -> str:
    """A SCSI address: host:channel:target:lun."""
    return _match(HCTL, field, value, "a SCSI address host:channel:target:lun")


def wwid(value: str, *, field: str = "wwid") -> str:
    """A logical unit name: `naa.` or `eui.` and lower-case hex digits, as in sysfs."""
    return _match(WWID, field, value, "a logical unit name such as naa.6001405...")


def iqn(value: str, *, field: str = "target") -> str:
    """A target's name, as the server wrote it: LIO, SCST and tgt tell capitals from small letters (attach.md, case 81).

    Names that keep to RFC 7143 4.2.7 begin with `iqn.`, `eui.` or `naa.`; targets are met that do not (iqn.com.example,
    10.0.0.4:vol1), and open-iscsi logs in to them. It becomes a directory name in iscsid's database.
    """
    wanted = "an iSCSI name: iqn., eui. or naa., and letters, digits and . : - _ of at most 223 characters in all"
    if len(value) > MOST_OF_NAME or ".." in value:
        raise refuse(field, value, wanted)
    return _match(ISCSI_NAME, field, value, wanted)


def same_iqn(one: str, other: str) -> bool:
    """Whether two names are of one target: to the standard capitals are no difference (RFC 3722)."""
    return one.lower() == other.lower()


def wwpn(value: str, *, field: str = "wwpn") -> str:
    """A Fibre Channel port name (FC-FS, Name_Identifier) in normal form, 16 lower-case hex digits, however it is spelt.

    `0x...`, `naa....`, with colons or dashes between the bytes, in any case. No stripping of single characters: a port
    name may begin with zeros (attach.md, case 16).
    """
    match = _WWPN_SPELT.fullmatch(value)
    if not match:
        raise refuse(field, value, "a Fibre Channel port name of 16 hexadecimal digits such as 20:00:02:00:00:00:00:11")
    return re.sub("[:-]", "", match[1]).lower()


def ports(values: tuple[str, ...], *, field: str = "targets") -> None:
    """Port names in normal form."""
    for value in values:
        if not is_wwpn(value):
            raise refuse(field, value, "a port name in normal form, 16 lower-case hex digits")


def is_wwpn(value: str) -> bool:
    """Whether a name is a Fibre Channel port name in normal form."""
    return WWPN.fullmatch(value) is not None


def with_colons(value: str) -> str:
    """A port name as people and the kernel's target write it: 20:00:02:00:00:00:00:11."""
    return ":".join(value[at : at + 2] for at in range(0, len(value), 2))


def nexus(target: str, local: str) -> None:
    """The two ends of an I_T nexus: an iSCSI name and a portal, or a remote and a local port's name in normal form."""
    if not is_wwpn(target):
        iqn(target)
        portal(local)
    elif not is_wwpn(local):
        raise refuse("portal", local, "the normal form of a local port's name, 16 lower-case hex digits")


def lun(value: int, *, field: str = "lun") -> int:
    """A logical unit number as the kernel writes it."""
    if not 0 <= value <= MAX_LUN:
        raise refuse(field, value, f"a logical unit number from 0 to {MAX_LUN}")
    return value


FLAT = 0x4000
"""The bits of flat space addressing in the kernel's number of a LUN (SAM-5 4.7.7.3; scsi_common.c scsilun_to_int)."""
MOST_PERIPHERAL = 256
"""From here on a LUN has more than one form."""


def plain_lun(number: int) -> int:
    """The kernel's number of a LUN without the bits of the addressing method (attach.md, case 73)."""
    return number & 0x3FFF if FLAT <= number < 2 * FLAT else number


def lun_forms(number: int) -> tuple[int, ...]:
    """Every number under which the kernel may know a LUN, the given one first: above 255, arrays differ in whether they
    address it as peripheral (with the upper bits as a bus number) or as flat space (SAM-5 4.7.7.2 and 4.7.7.3).
    """
    plain = plain_lun(number)
    both = (plain, FLAT | plain) if MOST_PERIPHERAL <= plain < FLAT else (plain,)
    return tuple(dict.fromkeys((number, *both)))


def number_at(hctl: str) -> int:
    """The kernel's number of the logical unit at a SCSI address, as it is."""
    return int(hctl.rpartition(":")[2])


def lun_of(hctl: str) -> int:
    """The number of the logical unit at a SCSI address, without these bits."""
    return plain_lun(number_at(hctl))


def portal(value: str, *, field: str = "portal") -> str:
    """An address and a port in canonical form: `10.0.0.1:3260`, `[fd00::1]:3260`. Port 3260 where none is given.

    Only addresses pass: names are resolved once, where they come in.
    """
    host, port = split_portal(value, field=field)
    try:
        return f"{_address(host)}:{port}"
    except ValueError:
        raise refuse(field, value, "an IP address (without a zone) with an optional port") from None


@lru_cache(maxsize=1024)
def _address(host: str) -> str:
    """In canonical form. Raises `ValueError`; only what is an address, and so is short, is remembered."""
    address = ipaddress.ip_address("" if "%" in host else host)  # a zone may be any text: a line of a record, too
    address = getattr(address, "ipv4_mapped", None) or address
    return f"[{address}]" if address.version == 6 else str(address)


def split_portal(value: str, *, field: str = "portal") -> tuple[str, int]:
    """Host (name or address, without brackets) and port of `host`, `host:port`, `[v6]:port`, `v6`, `...,tpgt`."""
    text = value.partition(",")[0]
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest[1:] if rest.startswith(":") else rest
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, ""
    if not port:
        return host, ISCSI_PORT
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise refuse(field, value, "an address with a port from 1 to 65535")
    return host, int(port)


def domain(value: str, *, field: str = "domain") -> str:
    """A libvirt domain's name."""
    return _match(DOMAIN, field, value, "the name of a libvirt domain")


def disk_target(value: str, *, field: str = "target") -> str:
    """A disk's place in a domain: sda, vdb, ..."""
    return _match(DISK_TARGET, field, value, "a disk of a domain, such as sda or vdb")


def owner(value: str, *, field: str = "owner") -> str:
    """`user:group`, or empty where the owner stays as the kernel made it."""
    return value if value == "" else _match(OWNER, field, value, "user:group")


def chap(value: str, *, field: str = "chap") -> str:
    """The name of a server's CHAP entry: the URL of the server; or empty."""
    return value if value == "" else _match(SERVER, field, value, "the URL of a configured server")


def iface(value: str, *, field: str = "interface") -> str:
    """The name of an interface of open-iscsi, a file below /etc/iscsi/ifaces; or empty."""
    return value if value == "" else _match(IFACE, field, value, "the name of an interface, as in /etc/iscsi/ifaces")
