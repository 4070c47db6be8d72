"""Hosts in NFS exports as tables: who may what, whether that is this host, and the lists as they are written back."""

from typing import Any

import pytest

from agent.cdmi import initiators, nfs_hosts

US, NAME = "10.0.0.7", "host7.lab.example.org"
DISK, FILE, READ = ("rw", "root"), ("rw",), ("ro",)
LACKING: dict[str, tuple[dict[str, Any], tuple[str, ...], tuple[str, ...]]] = {
    "nobody is named": ({"rw_hosts": []}, DISK, ("rw", "root")),
    "others": ({"rw_hosts": ["10.0.0.8"], "root_hosts": ["10.0.0.8"]}, DISK, ("rw", "root")),
    "our address": ({"rw_hosts": [US], "root_hosts": [US]}, DISK, ()),
    "our address, not as root": ({"rw_hosts": [US], "root_hosts": []}, DISK, ("root",)),
    "root is not spoken of": ({"rw_hosts": [US]}, DISK, ()),
    "root is not spoken of, and all else is needed": ({"rw_hosts": []}, FILE, ("rw",)),
    "our name": ({"rw_hosts": ["HOST7.lab.example.org"]}, FILE, ()),
    "a wildcard of names": ({"rw_hosts": ["*.lab.example.org"]}, FILE, ()),
    "a wildcard of others": ({"rw_hosts": ["*.example.com"]}, FILE, ("rw",)),
    "one character": ({"rw_hosts": ["host?.lab.example.org"]}, FILE, ()),
    "everybody": ({"ro_hosts": ["*"]}, READ, ()),
    "everybody, to read": ({"ro_hosts": ["*"]}, FILE, ("rw",)),
    "a network": ({"rw_hosts": ["10.0.0.0/24"]}, FILE, ()),
    "a network with a mask": ({"rw_hosts": ["10.0.0.0/255.255.255.0"]}, FILE, ()),
    "another network": ({"rw_hosts": ["10.1.0.0/16"]}, FILE, ("rw",)),
    "a network of the other family": ({"rw_hosts": ["fd00::/8"]}, FILE, ("rw",)),
    "a wildcard of addresses": ({"rw_hosts": ["10.0.0.*"]}, FILE, ()),
    "a netgroup": ({"rw_hosts": ["@hosts"]}, FILE, ("rw",)),
    "who may write may read": ({"rw_hosts": [US]}, READ, ()),
    "1.1: hosts": ({"hosts": [US], "mode": "rw"}, FILE, ()),
    "1.1: hosts, to read": ({"hosts": [US], "mode": "ro"}, FILE, ("rw",)),
    "1.1: hosts, as root": ({"hosts": ["*"], "mode": "root"}, DISK, ()),
    "1.1: all by default": ({"mode": "rw", "ro_hosts": []}, FILE, ()),
    "1.1: all by default, but some are named": ({"mode": "rw", "ro_hosts": ["10.0.0.8"]}, FILE, ("rw",)),
    "2.0: none by default": ({"ro_hosts": ["10.0.0.8"]}, FILE, ("rw",)),
    "a name alone, and no list": ({"rw_hosts": US}, FILE, ()),
    "no name of anybody": ({"rw_hosts": ["*" * 300]}, FILE, ("rw",)),
    "a bracket is no wildcard": ({"rw_hosts": ["10.0.0.[0-9]"]}, FILE, ("rw",)),
}


@pytest.mark.parametrize("case", LACKING)
def test_what_this_host_lacks(case: str) -> None:
    entry, wanted, lacks = LACKING[case]
    seen = nfs_hosts.rights(entry)
    assert seen is not None and nfs_hosts.lacking(seen, wanted, US, NAME) == lacks


@pytest.mark.parametrize("entry", [{}, {"mode": "rw"}, {"rw_hosts": {}}, {"rw_hosts": [1]}, {"rw_hosts": None}])
def test_an_entry_without_lists_names_nobody(entry: dict[str, Any]) -> None:
    assert nfs_hosts.named(entry) is None and nfs_hosts.rights(entry) is None


@pytest.mark.parametrize(
    ("disk", "read_only", "needs"), [(True, False, DISK), (True, True, DISK), (False, False, FILE), (False, True, READ)]
)
def test_what_is_needed(disk: bool, read_only: bool, needs: tuple[str, ...]) -> None:
    assert nfs_hosts.needed(disk=disk, read_only=read_only) == needs


def test_the_lists_are_written_back_as_they_were_but_for_us() -> None:
    entry = {"protocol": "NFSv4", "rw_hosts": ["a", "b"], "hosts": "c", "root_hosts": {}}
    named = nfs_hosts.named(entry)
    assert named == ("hosts c", "rw_hosts a", "rw_hosts b")
    with_us = nfs_hosts.with_named(entry, [*named, nfs_hosts.name_of("rw", US), nfs_hosts.name_of("root", US)])
    assert with_us == {"protocol": "NFSv4", "rw_hosts": ["a", "b", US], "hosts": ["c"], "root_hosts": [US]}
    assert nfs_hosts.with_named(with_us, named) == {**with_us, "rw_hosts": ["a", "b"], "root_hosts": []}


def test_spellings_of_one_host() -> None:
    assert initiators.same("rw_hosts FD00::7", "rw_hosts fd00:0:0::7")
    assert initiators.same("rw_hosts Host7", "rw_hosts host7")
    assert not initiators.same("rw_hosts host7", "ro_hosts host7")
