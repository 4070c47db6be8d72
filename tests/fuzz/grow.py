"""Structured inputs grown from bytes: whatever invents bytes (hypothesis, atheris, a random loop) invents JSON."""

from typing import Any

from tests.cdmi_server.hostile import NASTY

WORDS = (
    *("", "0", "1", "true", "off", "rw", "NFSv4", "NFSv3", "NFSv4.1", "iSCSI", "nfs", "FC", "domain", "Processing"),
    *("Network/iSCSI", "Network/NFSv4", "Network/FC", "OCCI/iSCSI", "application/cdmi-container"),
    *("iqn.2026-01.org.example:x,t,0x0001", "eui.02004567A425678D", "0x60012340000000000000000000000001"),
    *("10.1.0.1", "10.1.0.1:3260,1", "[fd00::1]:3260", "127.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "fe80::1%a"),
    *("san.example", "nas.example:/srv/a", "/srv/a", "[fd00::1]:/", "/pool/one/", "pool/", "/../", "%2e%2e", "%"),
    *("http://127.0.0.1/cdmi/pool/", "//x/", "cdmi_objectid/00007ED9", "00007ED90010D891022876A8DE0BC0FD", "AA/+b=="),
    *("5001405000000001", "50:01:40:50:00:00:00:01", "naa.6001405000000000", "١", "１２", "\ud800"),
    *NASTY.values(),
)
KEYS = (
    *("type", "protocol", "path", "exportpath", "identifier", "permissions", "portals", "target_identifier"),
    *("logical_unit_number", "logical_unit_name", "target_wwpns", "server_addresses", "control", "disabled", "active"),
    *("last_problems", "mode", "security_flavors", "exports", "metadata", "cdmi_size", "cdmi_assignedsize"),
    *("objectType", "objectID", "objectName", "parentURI", "completionStatus", "percentComplete", "source", "name"),
    *("domain", "target", "bus", "access", "protocols", "timeout_s", "generation", "hctl", "wwid", "lun", "portal"),
)
NUMBERS = (0, 1, -1, 3, 255, 16383, 16384, 1 << 31, 1 << 63, 1 << 200, 0.5, -0.0, 1e300)
ENTRIES: tuple[dict[str, Any], ...] = (
    {
        "type": "iSCSI",
        "portals": ["10.1.0.1", "san.example:3261"],
        "target_identifier": "iqn.2026-01.org.example:x,t,0x0001",
        "logical_unit_number": "3",
        "logical_unit_name": "0x60012340000000000000000000000001",
        "permissions": ["iqn.2026-01.org.example:host"],
    },
    {"type": "NFS", "protocol": "NFSv4.1", "path": "nas.example:/srv/a"},
    {"type": "nfs", "protocol": ["NFSv3", "NFSv4"], "path": "/srv", "server_addresses": ["10.1.0.2"], "active": "true"},
    {"type": "FC", "target_wwpns": ["5001405000000001"], "logical_unit_number": 1, "permissions": []},
    {"identifier": "/users", "permissions": "domain"},
)
OBJECT: dict[str, Any] = {
    "objectType": "application/cdmi-object",
    "objectID": "00007ED90010D891022876A8DE0BC0FD",
    "objectName": "disk.img",
    "parentURI": "/pool/",
    "completionStatus": "Complete",
    "metadata": {"cdmi_size": "4096", "cdmi_assignedsize": "4096"},
}


class Source:
    """Decisions from bytes; when they are used up, every decision is the first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def pick(self, count: int) -> int:
        """A number below `count`."""
        if self._at >= len(self._data) or count < 2:
            return 0
        taken = self._data[self._at : self._at + (1 if count <= 256 else 2)]
        self._at += len(taken)
        return int.from_bytes(taken, "big") % count

    def rest(self) -> bytes:
        """What is left."""
        left, self._at = self._data[self._at :], len(self._data)
        return left

    def text(self) -> str:
        """A word, some joined, or any characters."""
        match self.pick(4):
            case 0 | 1:
                return WORDS[self.pick(len(WORDS))]
            case 2:
                return "".join(WORDS[self.pick(len(WORDS))] for _ in range(self.pick(4)))
        return "".join(chr(self.pick(0x250)) for _ in range(self.pick(12)))

    def value(self, depth: int = 0) -> Any:
        """A JSON value."""
        match self.pick(9 if depth < 4 else 6):
            case 0 | 1 | 2:
                return self.text()
            case 3:
                return NUMBERS[self.pick(len(NUMBERS))]
            case 4:
                return (None, True, False)[self.pick(3)]
            case 5:
                return int.from_bytes(bytes([self.pick(256), self.pick(256)]), "big")
            case 6 | 7:
                return [self.value(depth + 1) for _ in range(self.pick(6))]
        return {self.key(): self.value(depth + 1) for _ in range(self.pick(6))}

    def key(self) -> str:
        """A member's name: mostly one that means something."""
        return KEYS[self.pick(len(KEYS))] if self.pick(4) else self.text()

    def changed(self, base: dict[str, Any]) -> dict[str, Any]:
        """A right object with some members changed, added and left out."""
        made = dict(base)
        for _ in range(self.pick(5)):
            name = tuple(made)[self.pick(len(made))] if made and self.pick(3) else self.key()
            if self.pick(6) == 5:
                made.pop(name, None)
            else:
                made[name] = self.value()
        return made

    def exports(self) -> Any:
        """The value of a field `exports`: mostly an object of entries that are nearly right."""
        if self.pick(20) == 19:
            return self.value()
        entries: dict[str, Any] = {}
        for number in range(self.pick(4) + 1):
            key = self.text() if self.pick(3) else str(number)
            entries[key] = self.value() if self.pick(12) == 11 else self.changed(ENTRIES[self.pick(len(ENTRIES))])
        return entries
