"""What an object's exports are taken for: every dialect of the standard, and what hostile servers may write."""

import asyncio
import ipaddress
import json
from typing import Any

import pytest

from agent.cdmi import networks
from agent.cdmi.choose import choose
from agent.cdmi.exports import read_exports
from agent.cdmi.server import Server
from agent.model import Resolved, SeenExport
from agent.strictjson import loads
from attachers import iscsi
from attachers.problems import Code, Problem

ENTRY: dict[str, Any] = {
    "portals": ["192.168.1.101", "192.168.1.102"],
    "target_identifier": "iqn.2010-01.com.cloudprovider:acmeroot.container1,t,0x0001",
    "logical_unit_number": "3",
    "logical_unit_name": "0x60012340000000000000000000000001",
    "permissions": ["iqn.2010-01.com.acme:host1", "iqn.2010-01.com.acme:host2"],
}
PLAN = {
    "target": "iqn.2010-01.com.cloudprovider:acmeroot.container1",
    "portals": ["192.168.1.101:3260", "192.168.1.102:3260"],
    "lun": 3,
    "wwid": "naa.60012340000000000000000000000001",
    "size": 0,
}


def read(key: str, **changes: object) -> SeenExport:
    (seen,) = read_exports({key: ENTRY | changes}, protocols=("iscsi",))
    return seen


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("Network/iSCSI", {}),
        ("network/ISCSI", {}),
        ("iSCSI", {}),
        ("1", {"type": "iSCSI"}),
        ("1", {"type": "ISCSI", "parameters": "opaque"}),
        ("Network/iSCSI", {"type": "iscsi"}),
    ],
)
def test_the_examples_of_the_standard_are_read(key: str, changes: dict[str, object]) -> None:
    seen = read(key, **changes)
    assert (seen.key, seen.protocol, seen.usable, seen.reason) == (key, "iscsi", True, "")
    assert seen.plan == PLAN
    assert iscsi.plan_of(PLAN).as_json() == PLAN
    assert seen.permissions == ("iqn.2010-01.com.acme:host1", "iqn.2010-01.com.acme:host2")


@pytest.mark.parametrize(
    ("member", "value", "field", "wanted"),
    [
        ("target_identifier", "iqn.2010-01.com.x:a", "target", "iqn.2010-01.com.x:a"),
        ("target_identifier", "IQN.2010-01.COM.X:A,T,0X00FF", "target", "IQN.2010-01.COM.X:A"),
        ("target_identifier", "eui.02004567A425678D,t,0x0001", "target", "eui.02004567A425678D"),
        ("logical_unit_number", 3, "lun", 3),
        ("logical_unit_number", "0", "lun", 0),
        ("logical_unit_number", "16684", "lun", 16684),
        ("logical_unit_name", "0X6001ABCD000000000000000000000001", "wwid", "naa.6001abcd000000000000000000000001"),
        ("logical_unit_name", "naa.6001ABCD000000000000000000000001", "wwid", "naa.6001abcd000000000000000000000001"),
        ("logical_unit_name", "6001abcd000000000000000000000001", "wwid", "naa.6001abcd000000000000000000000001"),
        ("logical_unit_name", "5001405ABCDEF012", "wwid", "naa.5001405abcdef012"),
        ("logical_unit_name", "eui.0011223344556677", "wwid", "eui.0011223344556677"),
        ("logical_unit_name", None, "wwid", None),
        ("logical_unit_name", "", "wwid", None),
        ("portals", "10.0.0.1", "portals", ["10.0.0.1:3260"]),
        ("portals", ["10.0.0.1:3261"], "portals", ["10.0.0.1:3261"]),
        ("portals", ["10.0.0.1:3261,1"], "portals", ["10.0.0.1:3261"]),
        ("portals", ["10.0.0.1,1"], "portals", ["10.0.0.1:3260"]),
        ("portals", ["[FD00::1]:3261"], "portals", ["[fd00::1]:3261"]),
        ("portals", ["fd00::1", "[fd00::1]", "[fd00::1]:3260,7"], "portals", ["[fd00::1]:3260"]),
        ("portals", ["::ffff:127.0.0.1"], "portals", ["127.0.0.1:3260"]),
        ("portals", ["SAN.example.org:3261"], "portals", ["san.example.org:3261"]),
    ],
)
def test_values_are_read_leniently(member: str, value: object, field: str, wanted: object) -> None:
    seen = read("Network/iSCSI", **{member: value})
    assert seen.reason == ""
    assert seen.plan is not None and seen.plan[field] == wanted


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("target_identifier", 7),
        ("target_identifier", "iqn.2010-01.com.x:a/../b"),
        ("target_identifier", "iqn.2010-01.com.x:a..b"),
        ("target_identifier", "iqn.2010-01.com.x:a\n"),
        ("target_identifier", "iqn.2010-01.com.x:a b"),
        ("target_identifier", "iqn.2010-01.com.x:a,t,0x1,t,0x2"),
        ("target_identifier", "iqn.2010-01.com.x:a,t,0x00001"),
        ("target_identifier", "iqn.2010-01.com.x:" + "a" * 220),
        ("target_identifier", "$(reboot)"),
        ("target_identifier", "2000020000000011"),
        ("target_identifier", "iqn.2003-12.com.example:storage/disk2"),
        ("target_identifier", "iqn.2001-04.com.example:\u00e9"),
        ("logical_unit_number", -1),
        ("logical_unit_number", 65536),
        ("logical_unit_number", 10**30),
        ("logical_unit_number", True),
        ("logical_unit_number", 3.0),
        ("logical_unit_number", "0x3"),
        ("logical_unit_number", " 3"),
        ("logical_unit_number", "٣"),
        ("logical_unit_number", "3\n"),
        ("logical_unit_name", "0x6001"),
        ("logical_unit_name", "0xzz012340000000000000000000000001"),
        ("logical_unit_name", "naa.6001234000000000000000000000000/"),
        ("logical_unit_name", 6001),
        ("logical_unit_name", {"x": 1}),
        ("portals", ["10.0.0.1"] * 17),
        ("portals", [1]),
        ("portals", {"a": 1}),
        ("portals", ["10.0.0.1:0"]),
        ("portals", ["10.0.0.1:65536"]),
        ("portals", ["10.0.0.1:x"]),
        ("portals", ["10.0.0.1:3260,x"]),
        ("portals", ["fe80::1%eth0"]),
        ("portals", ["[fe80::1%../../etc]:3260"]),
        ("portals", ["-oProxyCommand"]),
        ("portals", ["a/b"]),
        ("portals", ["a b"]),
        ("portals", ["a\n"]),
        ("portals", [""]),
        ("portals", ["a" * 301]),
        ("permissions", {"a": 1}),
        ("permissions", [1]),
    ],
)
def test_a_malformed_value_makes_the_entry_unusable_and_is_named(member: str, value: object) -> None:
    seen = read("Network/iSCSI", **{member: value})
    assert not seen.usable and seen.plan is None
    assert seen.reason.startswith(f'exports."Network/iSCSI".{member}')
    assert " is not " in seen.reason
    assert len(seen.reason) < 400 and seen.reason.isprintable()


@pytest.mark.parametrize("value", [None, "", [], "absent"])
@pytest.mark.parametrize("member", ["target_identifier", "portals", "logical_unit_number"])
def test_what_the_server_has_not_filled_in_is_not_ready(member: str, value: object) -> None:
    entry = {name: one for name, one in (ENTRY | {member: value}).items() if name != member or value != "absent"}
    (seen,) = read_exports({"Network/iSCSI": entry}, protocols=("iscsi",))
    assert not seen.usable
    assert seen.reason == f'not ready: the server has not filled in {member} of exports."Network/iSCSI"'


def test_a_new_export_with_permissions_only_is_not_ready() -> None:
    (seen,) = read_exports({"Network/iSCSI": {"permissions": []}}, protocols=("iscsi",))
    assert seen.reason.startswith("not ready") and seen.permissions == ()


@pytest.mark.parametrize(
    ("value", "permissions"),
    [("iqn.2010-01.com.acme:host1", ("iqn.2010-01.com.acme:host1",)), ("", ()), ([], ()), (None, None)],
)
def test_permissions_may_be_a_string_a_list_or_absent(value: object, permissions: tuple[str, ...] | None) -> None:
    seen = read("Network/iSCSI", permissions=value)
    assert seen.usable and seen.permissions == permissions


@pytest.mark.parametrize(
    ("key", "entry", "protocol", "word"),
    [
        (
            "OCCI/iSCSI",
            {"identifier": "00007E7F", "permissions": ["http://x/compute/0/"]},
            "occi",
            "no connection data",
        ),
        ("OCCI/NFSv4", {"identifier": "00007E7F", "permissions": "f63aaa26"}, "occi", "no connection data"),
        ("Network/NFSv4", {"identifier": "/users", "permissions": "domain"}, "nfs", "not enabled"),
        ("nfs", {"usermap": [["nobody", "<-", "root"]]}, "nfs", "not enabled"),
        ("1", {"type": "nfs", "protocol": "NFSv4", "path": "/myexport"}, "nfs", "not enabled"),
        ("cifs", {"share_name": "x"}, "cifs", "not supported"),
        ("2", {"type": "SMB", "sharename": "x"}, "cifs", "not supported"),
        ("Network/WebDAV", {"identifier": "/users", "permissions": "domain"}, "webdav", "not supported"),
        ("Network/WebHTTP", {"identifier": "http://x/", "permissions": "oidc"}, "http", "not supported"),
        ("Network/FCoE", {}, "fc", "not enabled"),
        ("Network/FC", {"target_wwpns": []}, "fc", "not enabled"),
        ("3", {"type": "s3", "bucketname": "b"}, "s3", "not supported"),
        ("Network/Carrier\nPigeon", {}, "unknown", "printable key"),
        ("x" * 300, {}, "unknown", "printable key"),
        ("Network/Pigeon", {}, "unknown", "Network/Pigeon"),
        ("1", {"type": "pigeon"}, "unknown", "pigeon"),
        ("Network/iSCSI", {"type": ["iSCSI"]}, "iscsi", '"Network/iSCSI".type'),
        ("childrenrange", "0-1", "unknown", "not an export entry"),
        ("children", ["a", "b"], "unknown", "not an export entry"),
        ("Network/iSCSI", None, "unknown", "not an export entry"),
    ],
)
def test_every_other_entry_is_named_and_explained(key: str, entry: object, protocol: str, word: str) -> None:
    (seen,) = read_exports({key: entry}, protocols=("iscsi",))
    assert (seen.protocol, seen.usable) == (protocol, False)
    assert word in seen.reason
    assert seen.key.isprintable() and seen.reason.isprintable()


def test_a_protocol_that_is_not_enabled_is_not_used() -> None:
    (seen,) = read_exports({"Network/iSCSI": ENTRY}, protocols=("nfs",))
    assert "not enabled" in seen.reason


@pytest.mark.parametrize("exports", [None, {}, []])
def test_no_exports_are_no_error(exports: object) -> None:
    assert read_exports(exports, protocols=("iscsi",)) == ()


@pytest.mark.parametrize("exports", ["x", [ENTRY], 7, {str(n): ENTRY for n in range(65)}])
def test_exports_of_another_shape_are_refused(exports: object) -> None:
    with pytest.raises(Problem) as caught:
        read_exports(exports, protocols=("iscsi",))
    assert caught.value.code is Code.CDMI_REFUSED


# Networks.


@pytest.mark.parametrize(
    ("listed", "address", "allowed"),
    [
        (["10.1.0.0/16"], "10.1.2.3", True),
        (["10.1.0.0/16"], "10.2.2.3", False),
        ([], "10.1.2.3", False),
        (["0.0.0.0/0"], "10.1.2.3", True),
        (["0.0.0.0/0"], "127.0.0.1", False),
        (["0.0.0.0/0"], "169.254.169.254", False),
        (["0.0.0.0/0"], "224.0.0.1", False),
        (["0.0.0.0/0"], "0.0.0.0", False),
        (["0.0.0.0/0", "127.0.0.0/8"], "127.0.0.1", True),
        (["127.0.0.1/32"], "127.0.0.1", True),
        (["169.254.0.0/16"], "169.254.0.1", True),
        (["::/0"], "::1", False),
        (["::/0"], "fe80::1", False),
        (["::/0"], "ff02::1", False),
        (["::/0"], "::", False),
        (["::/0"], "fd00::1", True),
        (["::1/128"], "::1", True),
        (["::/0"], "10.1.2.3", False),
    ],
)
def test_special_addresses_need_a_network_of_their_own(listed: list[str], address: str, allowed: bool) -> None:
    listing = [ipaddress.ip_network(network) for network in listed]
    assert networks.allows(listing, ipaddress.ip_address(address)) is allowed


async def resolver(name: str) -> list[str]:
    known = {
        "two.example": ["10.1.0.7", "fd00::7"],
        "inside.example": ["127.0.0.1"],
        "mapped.example": ["::ffff:169.254.169.254"],
        "none.example": [],
    }
    if name == "slow.example":
        await asyncio.Event().wait()
    if name not in known:
        raise OSError(-2, "Name or service not known")
    return known[name]


async def pin(*portals: str) -> SeenExport:
    server = Server("https://x.example/", storage_networks=(ipaddress.ip_network("10.1.0.0/16"),))
    seen = read("Network/iSCSI", portals=list(portals))
    (pinned,) = await networks.pinned([seen], server, resolver=resolver, names_s=0.05)
    return pinned


async def test_names_become_addresses_and_foreign_ones_are_dropped() -> None:
    seen = await pin("two.example:3261", "10.1.0.8", "10.2.0.1", "inside.example")
    assert seen.usable and seen.reason == ""
    assert seen.plan is not None and seen.plan["portals"] == ["10.1.0.7:3261", "10.1.0.8:3260"]


@pytest.mark.parametrize(
    ("portal", "reason"),
    [
        ("169.254.0.1", "portal 169.254.0.1:3260 is outside storage_networks of this server (10.1.0.0/16)"),
        ("inside.example", "portal 127.0.0.1:3260 is outside storage_networks of this server (10.1.0.0/16)"),
        ("mapped.example", "portal 169.254.169.254:3260 is outside storage_networks of this server (10.1.0.0/16)"),
        ("2130706433", "portal 2130706433:3260: the name cannot be resolved"),
        ("none.example", "portal none.example:3260: the name has no address"),
        ("slow.example", "portal slow.example:3260: the name was not resolved within 0.05 s"),
    ],
)
async def test_without_a_portal_left_the_export_is_not_usable(portal: str, reason: str) -> None:
    seen = await pin(portal)
    assert not seen.usable and seen.plan is None
    assert seen.reason.startswith(reason)


async def test_only_so_many_names_are_looked_up() -> None:
    exports = [read(f"n{n}", type="iSCSI", portals=[f"h{n:02}.example"]) for n in range(20)]
    asked: list[str] = []

    async def counting(name: str) -> list[str]:
        asked.append(name)
        return ["10.1.0.1"]

    server = Server("https://x.example/", storage_networks=(ipaddress.ip_network("10.1.0.0/16"),))
    pinned = await networks.pinned(exports, server, resolver=counting, names_s=1)
    assert len(asked) == networks.MAX_NAMES
    assert [seen.usable for seen in pinned] == [True] * 16 + [False] * 4


# The choice.


def resolved(*exports: SeenExport, kind: str = "container") -> Resolved:
    return Resolved("https://x.example/", "https://x.example/cdmi_objectid/1/", "1", "vol1", kind, None, exports)


def test_the_preferred_protocol_is_chosen() -> None:
    first, second = SeenExport("a", "iscsi", True, ""), SeenExport("b", "fc", True, "")
    assert choose(resolved(first, second), ("fc", "iscsi")) is second
    assert choose(resolved(first, second), ("nfs", "iscsi")) is first


def test_where_none_is_usable_each_is_explained() -> None:
    seen = [SeenExport("a", "iscsi", True, ""), SeenExport("b", "nfs", False, "not today")]
    with pytest.raises(Problem) as caught:
        choose(resolved(*seen), ("fc",))
    assert caught.value.code is Code.NO_USABLE_EXPORT
    assert "a: iscsi is usable, but only fc may be used; b: not today" in caught.value.detail


@pytest.mark.parametrize(("kind", "word"), [("container", "has no exports"), ("dataobject", "is a data object")])
def test_an_object_without_exports_is_explained(kind: str, word: str) -> None:
    with pytest.raises(Problem, match=word):
        choose(resolved(kind=kind), ("iscsi",))


# JSON.


def test_json_is_read() -> None:
    text = {"a": [1, 2.5, '}"]\\', None, True, {"b": "ü"}], "c": {}}
    assert loads(json.dumps(text).encode()) == text
    assert loads(b'{"a":' * 32 + b"1" + b"}" * 32)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'"x"',
        b"{",
        b'{"a":1}}',
        b"{]",
        b'{"a":' * 33 + b"1" + b"}" * 33,
        b"[" * 1_000_000,
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":1,"a":2}',
        b'{"b":{"a":1,"a":2}}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":"\xff"}',
        b"\xef\xbb\xbf{}",
        b'"' + b'\\"' * 500_000,
        "{}".encode("utf-16"),
    ],
)
def test_other_json_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        loads(raw)
