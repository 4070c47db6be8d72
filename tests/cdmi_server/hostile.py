"""The hostile mode: every right answer is spoilt by one attack, whose rule names what has to refuse it.

An attack is on a LUN (a container of this server) or on an image (a data object in a folder that is exported over NFS).
Only what is read is spoilt; the server itself goes on as ever, so that tests can see what it was made to do.
"""

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from aiohttp import web

Body = dict[str, Any]
Spoil = Callable[[web.Request, Body, int], Awaitable[web.StreamResponse | Body]]
"""From a request, what would be answered, and the how-manieth read of the victim it is (from 1)."""
LUN, IMAGE = "lun", "image"
OTHER_ID = "00007ED9001008C3FFFFFFFFFFFFFFFF"
GIB = 1 << 30
NASTY = {
    "nul": "\0",
    "newline": "\nnode.startup = automatic",
    "tab": "\t",
    "escape": "\x1b]0;x\x07",
    "shell": "$(id)",
    "backtick": "`id`",
    "semicolon": ";reboot",
    "pipe": "|sh",
    "option": " -o exec=x",
    "quote": "'",
    "backslash": "\\040",
    "dotdot": "/../../etc/passwd",
    "direction": "\u202e",
    "long": "a" * 5000,
}


@dataclass(frozen=True)
class Attack:
    """One attack. `rule` are words of the problem that refuses it; `networks` where exports may point (CIDR).

    `slow`: it plays for time. `dials` are the addresses that may be dialled, since the server told them in time.
    """

    rule: str
    spoil: Spoil
    on: str = LUN
    networks: tuple[str, ...] = ("10.1.0.0/16",)
    slow: bool = False
    dials: tuple[str, ...] = ()


class Hostile:
    """One attack, being made."""

    def __init__(self, name: str) -> None:
        self.attack = ATTACKS[name]
        self.reads = 0

    async def spoil(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        """Return what is answered instead, to a read of the victim; else the response."""
        body = _read(request, response)
        if body is None or not self._is_victim(body):
            return response
        self.reads += 1
        spoilt = await self.attack.spoil(request, body, self.reads)
        if isinstance(spoilt, web.StreamResponse):
            return spoilt
        return web.Response(body=json.dumps(spoilt).encode(), headers=response.headers)

    def _is_victim(self, body: Body) -> bool:
        is_object = str(body.get("objectType", "")).endswith("object")
        if self.attack.on == IMAGE:
            return is_object or "nfs" in body.get("exports", {})
        return not is_object and ("cdmi_assignedsize" in body.get("metadata", {}) or "exports" in body)


def _read(request: web.Request, response: web.StreamResponse) -> Body | None:
    if request.method != "GET" or not isinstance(response, web.Response) or not isinstance(response.body, bytes):
        return None
    with suppress(ValueError):
        body = json.loads(response.body)
        return body if isinstance(body, dict) else None
    return None


# How to spoil an answer.


def entry(key: str = "Network/iSCSI", **members: Any) -> Spoil:
    """Change members of an export entry."""

    async def spoil(_request: web.Request, body: Body, _read: int) -> Body:
        if key in body.get("exports", {}):
            body["exports"][key] |= members
        return body

    return spoil


def nfs(**members: Any) -> Spoil:
    """Change members of the NFS entry."""
    return entry("nfs", **members)


def _fc(**members: Any) -> Spoil:
    """An FC entry (docs/cdmi-fc.md) in place of all others."""
    return member(exports={"Network/FC": {"logical_unit_number": "1", **members}})


def member(*, of_objects: bool = False, **members: Any) -> Spoil:
    """Change members of the object itself; `of_objects`: of the data object only, not of the folder above it."""

    async def spoil(_request: web.Request, body: Body, _read: int) -> Body:
        if of_objects and not str(body.get("objectType", "object")).endswith("object"):
            return body
        return body | {name: value for name, value in members.items() if name in body or name == "exports"}

    return spoil


def later(first: int, spoil: Spoil) -> Spoil:
    """Tell the truth until the `first` read."""

    async def spoilt(request: web.Request, body: Body, read: int) -> web.StreamResponse | Body:
        return await spoil(request, body, read) if read >= first else body

    return spoilt


def turning(first: Spoil, second: Spoil) -> Spoil:
    """Tell one lie to the first read, and another to all others."""

    async def spoil(request: web.Request, body: Body, read: int) -> web.StreamResponse | Body:
        return await (first if read == 1 else second)(request, body, read)

    return spoil


def raw(body: bytes, **headers: str) -> Spoil:
    """Answer these bytes."""

    async def spoil(_request: web.Request, _body: Body, _read: int) -> web.StreamResponse:
        return web.Response(body=body, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return spoil


async def _bomb(_request: web.Request, _body: Body, _read: int) -> web.StreamResponse:
    return web.Response(body=_compressed(), headers={"Content-Encoding": "gzip"})


@cache
def _compressed() -> bytes:
    """64 MiB of blanks; made when they are asked for, which takes a while on an emulated machine."""
    return gzip.compress(b" " * (64 << 20))


def redirect(place: str, status: int = 302) -> Spoil:
    """Send the client elsewhere; HERE stands for this server's host and port, PATH for the path asked for."""

    async def spoil(request: web.Request, _body: Body, _read: int) -> web.StreamResponse:
        where = place.replace("HERE", request.host).replace("PATH", request.path)
        return web.Response(status=status, headers={"Location": where})

    return spoil


def stream(*, length: int | None, chunk: bytes = b" " * 65536) -> Spoil:
    """Answer the same chunk again and again, up to a length that is announced, or without end."""

    async def spoil(request: web.Request, _body: Body, _read: int) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = length
        with suppress(ConnectionError):
            await response.prepare(request)
            sent = 0
            while length is None or sent < length:
                await response.write(chunk)
                await asyncio.sleep(0)
                sent += len(chunk)
        return response

    return spoil


def _everywhere(
    member_name: str, right: str, spoil: Callable[[str], Spoil], on: str = LUN
) -> Iterator[tuple[str, Attack]]:
    """One attack for every nasty string behind a right one."""
    for name, nasty in NASTY.items():
        yield f"{member_name}-{name}", Attack(member_name, spoil(right + nasty), on)


def _at(address: str) -> Attack:
    """A portal at an address that no storage network is at, although all of IPv4 and IPv6 is allowed."""
    return Attack("is outside storage_networks", entry(portals=[address]), networks=("0.0.0.0/0", "::/0"))


def _nfs_at(address: str) -> Attack:
    spoil = nfs(exportpath=f"{address}:/srv/pool")
    return Attack("is outside storage_networks", spoil, IMAGE, networks=("0.0.0.0/0", "::/0"))


TARGET = "iqn.2026-01.org.example:victim"
DEEP = b'{"a":' * 10_000 + b"1" + b"}" * 10_000
ADDRESSES = {
    "loopback": "127.0.0.1",
    "loopback-6": "[::1]",
    "link-local": "169.254.1.1",
    "link-local-6": "[fe80::1]",
    "metadata": "169.254.169.254",
    "multicast": "224.0.0.1",
    "nowhere": "0.0.0.0",
    "nowhere-6": "[::]",
    "mapped": "[::ffff:127.0.0.1]",
}
ELSEWHERE = {
    "host": "http://elsewhere.example/cdmi/PATH",
    "metadata": "http://169.254.169.254/latest/meta-data/",
    "port": "http://127.0.0.1:1/cdmi/",
    "scheme": "https://HERE/PATH",
    "file": "file:///etc/shadow",
    "data": "data:application/json,{}",
    "gopher": "gopher://HERE/_x",
    "user": "http://one:geheim@HERE/cdmi/",
    "network-path": "//elsewhere.example/cdmi/",
    "backslash": "http://elsewhere.example\\@HERE/cdmi/",
    "root": "http://HERE/admin/",
    "long": "/cdmi/" + "a" * 5000,
    "blank": "/cdmi/a b",
}
ATTACKS: dict[str, Attack] = {
    **{f"portal-{name}": _at(address) for name, address in ADDRESSES.items()},
    **{f"nfs-{name}": _nfs_at(address) for name, address in ADDRESSES.items()},
    "portal-zone": Attack("an address without a scope", entry(portals=["[fe80::1%eth0]"]), networks=("::/0",)),
    "portal-inside-name": _at("inside.example"),
    "portal-decimal": _at("2130706433"),
    "portal-hexadecimal": _at("0x7f000001"),
    "portal-octal": _at("0177.0.0.1"),
    "portal-of-another-tenant": Attack("is outside storage_networks", entry(portals=["10.9.0.1"])),
    "portal-port-0": Attack("a port from 1 to 65535", entry(portals=["10.1.0.1:0"])),
    "portal-port-huge": Attack("a port from 1 to 65535", entry(portals=["10.1.0.1:70000"])),
    "portals-many": Attack("a list of at most 16 portals", entry(portals=["10.1.0.1"] * 100_0)),
    "portals-nested": Attack("portals[0]", entry(portals=[["10.1.0.1"]])),
    **dict(_everywhere("portals[0]", "10.1.0.1", lambda nasty: entry(portals=[nasty]))),
    **dict(_everywhere("target_identifier", TARGET, lambda nasty: entry(target_identifier=nasty))),
    **dict(_everywhere("logical_unit_name", "0x600140500000000000000000000000", lambda n: entry(logical_unit_name=n))),
    **dict(_everywhere("logical_unit_number", "1", lambda nasty: entry(logical_unit_number=nasty))),
    **dict(_everywhere("target_wwpns[0]", "5001405000000001", lambda nasty: _fc(target_wwpns=[nasty]))),
    "target_wwpns-many": Attack("at most 64 port names", _fc(target_wwpns=["5001405000000001"] * 65)),
    "target-object": Attack("target_identifier", entry(target_identifier={"a": 1})),
    **{
        f"lun-{name}": Attack("logical_unit_number", entry(logical_unit_number=value))
        for name, value in {
            "negative": -1,
            "huge": 1 << 70,
            "float": 1.5,
            "true": True,
            "wide": "１",
            "hex": "0x1",
        }.items()
    },
    "permissions-of-objects": Attack("permissions", entry(permissions=[{"a": 1}])),
    "permissions-many": Attack("a list of at most 4096", entry(permissions=["iqn.2026-01.org.x:y"] * 5000)),
    "exports-list": Attack("is not an object of export entries", member(exports=[1, 2])),
    "exports-many": Attack("at most 64 are read", member(exports={str(n): {} for n in range(65)})),
    "exports-key": Attack("is not a printable key", member(exports={"\x1b[2J": {"type": "iSCSI"}})),
    "exports-type": Attack("is not the name of a protocol", entry(type=["iSCSI"])),
    "id-of-another": Attack("was asked for the object", member(objectID=OTHER_ID)),
    "id-that-is-a-path": Attack("is no ID", member(objectID="../../etc")),
    "id-long": Attack("is no ID", member(objectID="0" * 500)),
    "type-queue": Attack("neither container nor data object", member(objectType="application/cdmi-queue")),
    "status-error": Attack("could not be made", member(completionStatus="Error: \x1b[2J")),
    **dict(_everywhere("exportpath", "10.1.0.1:/srv", lambda nasty: nfs(exportpath=nasty), IMAGE)),
    **dict(_everywhere("objectName", "disk.img", lambda n: member(of_objects=True, objectName=n), IMAGE)),
    **dict(_everywhere("parentURI", "/pool", lambda n: member(of_objects=True, parentURI=n), IMAGE)),
    **{
        f"parentURI-{name}": Attack(
            "was answered with 404", member(of_objects=True, parentURI=f"/pool{NASTY[name]}"), IMAGE
        )
        for name in ("shell", "backtick", "semicolon", "pipe", "option", "quote")  # names that a container may have
    },
    "nfs-server-option": Attack("exportpath", nfs(exportpath="-osec=none:/srv"), IMAGE),
    "nfs-server-comma": Attack("exportpath", nfs(exportpath="10.1.0.1,ro:/srv"), IMAGE),
    "nfs-server-inside-name": Attack("is outside storage_networks", nfs(exportpath="inside.example:/srv"), IMAGE),
    "nfs-of-another-tenant": Attack("is outside storage_networks", nfs(exportpath="10.9.0.1:/srv"), IMAGE),
    "nfs-version-3": Attack("NFS version 3", nfs(protocol="NFSv3"), IMAGE),
    "parent-elsewhere": Attack("leads away", member(of_objects=True, parentURI="http://elsewhere.example/"), IMAGE),
    "parent-itself": Attack("was answered with 404", member(of_objects=True, parentURI="/pool/disk.img"), IMAGE),
    "parent-of-another": Attack("is not at disk.img below it", member(of_objects=True, parentURI="/other/"), IMAGE),
    "name-of-another": Attack("is not at other.img below it", member(of_objects=True, objectName="other.img"), IMAGE),
    "json-deep": Attack("nested too deeply", raw(DEEP)),
    "json-wide": Attack("more than 65536 values", raw(b'{"a":[' + b"[]," * 300_000 + b"1]}")),
    "json-twice": Attack("comes twice", raw(b'{"objectID":"1","objectID":"2"}')),
    "json-nan": Attack("NaN is not a JSON value", raw(b'{"a":NaN}')),
    "json-infinity": Attack("Infinity is not a JSON value", raw(b'{"a":-Infinity}')),
    "json-digits": Attack("no CDMI object", raw(b'{"a":' + b"9" * 900_000 + b"}")),
    "json-exponent": Attack("a number is too large", raw(b'{"a":1e999}')),
    "json-bytes": Attack("no CDMI object", raw(b'{"a":"\xff\xfe"}')),
    "json-list": Attack("not a JSON object", raw(b"[1]")),
    "html": Attack("no CDMI object", raw(b"<html>\x00\x1b[2J</html>")),
    "empty": Attack("no CDMI object", raw(b"")),
    "gzip-bomb": Attack("gzip-encoded", _bomb),
    "deflate": Attack("deflate-encoded", raw(b"x", Content_Encoding="deflate")),
    "unknown-encoding": Attack("x-bomb-encoded", raw(b"x", Content_Encoding="x-bomb")),
    "gibibyte": Attack("more than 1048576 bytes", stream(length=GIB)),
    "endless": Attack("more than 1048576 bytes", stream(length=None)),
    "drop-by-drop": Attack("no complete answer within", stream(length=None, chunk=b" "), slow=True),
    "header-long": Attack("", raw(b"{}", X_Long="x" * 100_000)),
    **{f"redirect-{name}": Attack("redirect", redirect(place)) for name, place in ELSEWHERE.items()},
    "redirect-for-ever": Attack("more than 3 redirects", redirect("http://HEREPATH")),
    "redirect-other": Attack("answered 307", redirect("http://HERE/cdmi/", 307)),
    "later-another-object": Attack("was asked for the object", later(2, member(objectID=OTHER_ID))),
    "later-no-entry": Attack("is there no more", later(2, member(exports={"other": {}}))),
    "later-other-permissions": Attack("is not a list of names", later(2, entry(permissions=[{"a": 1}]))),
    "later-no-json": Attack("no CDMI object", later(2, raw(b"<html>"))),
    "later-other-portals": Attack(
        "127.0.0.2:3260",
        turning(entry(portals=["127.0.0.2", "127.0.0.3"]), entry(portals=["127.0.0.99"])),
        networks=("127.0.0.0/8",),
        dials=("127.0.0.2", "127.0.0.3"),
    ),
    "later-elsewhere": Attack("redirect", later(2, redirect("http://169.254.169.254/"))),
}
