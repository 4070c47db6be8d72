"""NFS entries in every form that the versions of CDMI have for them, and what may not be in them."""

import ipaddress
from typing import Any

import pytest

from agent.cdmi import networks
from agent.cdmi.exports import read_exports
from agent.cdmi.place import Place
from agent.cdmi.server import Server
from agent.model import SeenExport

NFS = ("nfs",)
PLACE = Place(size=4096, object_id="00007ED9", file="pool/disk.img", at="https://x/a/", nfs_servers=("cdmi.example",))
V1_0 = {"identifier": "nas:/users", "permissions": "domain"}
V1_1 = {
    "protocol": "NFSv4.1",
    "exportpath": "eeserver:/lessons/number1",
    "exportdomain": ".",
    "mode": "rw",
    "control": "immediate",
    "usermap": [["nobody", "<-", "root"], ["*", "<-->", "*"]],
}
V2_0 = {"type": "nfs", "protocol": "NFSv4", "path": "/myexport", "usermap": [], "groupmap": []}
V3_0 = {
    "type": "NFS",
    "protocol": ["NFSv3", "NFSv4", "NFSv4.2"],
    "path": "/export/one",
    "active": "true",
    "server_addresses": ["[FD00::7]", "10.1.0.7"],
    "security_flavors": ["sys"],
}


def read(key: str, entry: dict[str, Any], place: Place = PLACE) -> SeenExport:
    (seen,) = read_exports({key: entry}, protocols=NFS, place=place)
    return seen


@pytest.mark.parametrize(
    ("key", "entry", "servers", "export", "version"),
    [
        ("Network/NFSv4", V1_0, ["nas"], "/users", "4"),
        ("Network/NFSv4.1", {"identifier": "/users"}, ["cdmi.example"], "/users", "4.1"),
        ("nfs", V1_1, ["eeserver"], "/lessons/number1", "4.1"),
        ("1", V2_0, ["cdmi.example"], "/myexport", "4"),
        ("1", V2_0 | {"type": "NFS", "path": "MyServer:/myexport/"}, ["myserver"], "/myexport", "4"),
        ("1", V2_0 | {"path": "[fd00::1]:/"}, ["fd00::1"], "/", "4"),
        ("1", V2_0 | {"path": "10.0.0.1:/a/b"}, ["10.0.0.1"], "/a/b", "4"),
        ("1", V2_0 | {"protocol": "nfsv4.2"}, ["cdmi.example"], "/myexport", "4.2"),
        ("1", V2_0 | {"protocol": "NFSv4.0"}, ["cdmi.example"], "/myexport", "4"),
        ("1", {"type": "NFSv4.1", "path": "/e"}, ["cdmi.example"], "/e", "4.1"),
        ("x", V3_0, ["fd00::7", "10.1.0.7"], "/export/one", "4.2"),
        ("x", V3_0 | {"path": "nas:/e", "protocol": ["NFSv4"]}, ["nas"], "/e", "4"),
    ],
)
def test_the_forms_of_all_versions(
    key: str, entry: dict[str, Any], servers: list[str], export: str, version: str
) -> None:
    seen = read(key, entry)
    assert (seen.protocol, seen.usable, seen.reason) == ("nfs", True, "")
    assert seen.at == "https://x/a/"
    assert seen.permissions is None
    assert seen.plan == {
        "servers": servers,
        "export": export,
        "path": "pool/disk.img",
        "version": version,
        "size": 4096,
        "object_id": "00007ED9",
    }


@pytest.mark.parametrize(
    ("key", "entry", "words"),
    [
        ("nfs", {"usermap": [["nobody", "<-", "root"]]}, ['not ready: exports."nfs" has none of path']),
        ("nfs", {"exportpath": "/e"}, ["exports.\"nfs\": 'nfs'", "its protocol is missing"]),
        ("1", {"type": "nfs", "path": "/e"}, ["its protocol is missing"]),
        ("Network/NFSv3", {"identifier": "/e"}, ["NFS version 3 cannot be used here"]),
        ("1", V2_0 | {"protocol": "NFSv3"}, ['exports."1".protocol', "NFS version 3 cannot be used here"]),
        ("1", V2_0 | {"protocol": ["NFSv3"]}, ["NFS version 3 cannot be used here"]),
        ("1", V2_0 | {"protocol": ["NFSv3", "NFSv2"]}, ["is not a list with NFSv4"]),
        ("1", V2_0 | {"protocol": "NFSv5"}, ["NFS version 5"]),
        ("1", V2_0 | {"protocol": "pNFS"}, ["names no version"]),
        ("1", V2_0 | {"protocol": 4}, ['exports."1".protocol']),
        ("nfs", V1_1 | {"control": "off"}, ["switched off", "control is off"]),
        ("x", V3_0 | {"disabled": True}, ["switched off", "disabled is true"]),
        ("x", V3_0 | {"active": "false", "last_problems": ["no\nspace"]}, ["not ready", r"no\nspace"]),
        ("x", V3_0 | {"server_addresses": [7]}, ["server_addresses"]),
        ("x", V3_0 | {"server_addresses": ["a;b"]}, ["server_addresses"]),
        ("x", V3_0 | {"server_addresses": ["10.0.0.1"] * 17}, ["at most 16"]),
        ("1", V2_0 | {"exportpath": "/other"}, ['exports."1".path', "the same as exportpath"]),
        ("1", V2_0 | {"path": "relative"}, ["[server:]/absolute/path"]),
        ("1", V2_0 | {"path": ["/e"]}, ["[server:]/absolute/path"]),
        ("1", V2_0 | {"path": "a/b:/e"}, ["[server:]/absolute/path"]),
        ("1", V2_0 | {"path": "-oaddr=1:/e"}, ["host name or an IP address"]),
        ("1", V2_0 | {"path": "nas,ro:/e"}, ["host name or an IP address"]),
        ("1", V2_0 | {"path": "[fd00::1%eth0]:/e"}, ["[server:]/absolute/path"]),
        ("1", V2_0 | {"path": "/a/../b"}, ["segment '..'", "lead elsewhere"]),
        ("1", V2_0 | {"path": "/a/./b"}, ["segment '.'"]),
        ("1", V2_0 | {"path": "/a//b"}, ["segment ''"]),
        ("1", V2_0 | {"path": "/a\0b"}, ["control character"]),
        ("1", V2_0 | {"path": "/a\nb"}, ["control character"]),
        ("1", V2_0 | {"path": "/a b"}, ["reserved character ' '"]),
        ("1", V2_0 | {"path": "/a\\040b"}, ["reserved character '\\\\'"]),
        ("1", V2_0 | {"path": "/a:b"}, ["reserved character ':'"]),
        ("1", V2_0 | {"path": "/a$(id)"}, ["reserved character '$'"]),
        ("1", V2_0 | {"path": "/ä"}, ["reserved character '\\xe4'"]),
        ("1", V2_0 | {"path": "/" + "a/" * 600}, ["longer than 1024 bytes"]),
        ("1", V2_0 | {"path": "/" + "a" * 256}, ["more than 255 characters"]),
    ],
)
def test_what_cannot_be_used_is_named_with_the_rule(key: str, entry: dict[str, Any], words: list[str]) -> None:
    seen = read(key, entry)
    assert (seen.protocol, seen.usable, seen.plan) == ("nfs", False, None)
    assert seen.reason.isprintable() and len(seen.reason) < 400
    for word in words:
        assert word in seen.reason


@pytest.mark.parametrize("file", ["../x", "a/../x", "a//x", "a\nx", "a\0x", "a x", "-o/a|b", "a/" + "b" * 300])
def test_the_files_path_obeys_the_same_rules(file: str) -> None:
    seen = read("1", V2_0, Place(file=file, nfs_servers=("nas",)))
    assert not seen.usable and seen.reason.startswith("objectName: ")


def test_a_folder_is_no_disk() -> None:
    seen = read("1", V2_0, Place(nfs_servers=("nas",)))
    assert (
        seen.reason
        == 'exports."1" exports the folder /myexport, which is no disk: give a data object in it as the source'
    )


def test_a_containers_block_export_is_not_the_objects_in_it() -> None:
    (seen,) = read_exports({"Network/iSCSI": {"portals": ["10.0.0.1"]}}, protocols=("iscsi",), place=PLACE)
    assert seen.reason == "it exports the container https://x/a/ as a whole, and not this object"


# Where it may point.


async def resolver(name: str) -> list[str]:
    return {
        "cdmi.example": ["10.1.0.9"],
        "nas": ["169.254.169.254", "10.2.0.1", "10.1.0.8", "10.1.0.7"],
        "inside": ["127.0.0.1"],
    }[name]


async def pin(entry: dict[str, Any], **place: Any) -> SeenExport:
    server = Server("https://cdmi.example/", storage_networks=(ipaddress.ip_network("10.1.0.0/16"),))
    seen = read("1", entry, Place(**{"file": "disk.img", "nfs_servers": ("cdmi.example",)} | place))
    (pinned,) = await networks.pinned([seen], server, resolver=resolver, names_s=1)
    return pinned


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        (V2_0, "10.1.0.9"),
        (V2_0 | {"path": "nas:/e"}, "10.1.0.8"),
        (V2_0 | {"path": "10.1.0.1:/e"}, "10.1.0.1"),
        (V2_0 | {"path": "[::ffff:10.1.0.1]:/e"}, "10.1.0.1"),
        (V3_0, "10.1.0.7"),
        (V3_0 | {"server_addresses": ["inside", "nas"]}, "10.1.0.8"),
    ],
)
async def test_the_server_is_pinned_to_an_address_within_the_networks(entry: dict[str, Any], address: str) -> None:
    seen = await pin(entry)
    assert seen.usable and seen.plan is not None
    assert list(seen.plan) == ["server", "export", "path", "version", "size", "object_id"]
    assert seen.plan["server"] == address


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "169.254.169.254", "[fe80::1]", "0.0.0.0", "10.2.0.1", "inside"]
)
async def test_a_server_elsewhere_is_not_dialled(host: str) -> None:
    seen = await pin(V2_0 | {"path": f"{host}:/e"})
    assert not seen.usable and seen.plan is None
    assert "is outside storage_networks of this server (10.1.0.0/16)" in seen.reason
    assert seen.reason.startswith(f"NFS server {host.strip('[]')}")
