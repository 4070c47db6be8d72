"""Fibre Channel exports: what docs/cdmi-fc.md says, however it is spelt; and what hosts are called in permissions."""

from typing import Any

import pytest

from agent.cdmi import initiators, networks
from agent.cdmi.exports import read_exports
from agent.cdmi.grants import Change
from agent.cdmi.server import Server
from agent.cdmi.sources import parse
from agent.model import SeenExport
from attachers import fc
from attachers.problems import Code, Problem
from attachers.sights import Ability, HostSight

ENTRY: dict[str, Any] = {
    "target_wwpns": ["20:00:02:00:00:00:00:11", "20:00:02:00:00:00:00:13"],
    "logical_unit_number": "3",
    "logical_unit_name": "0x60012340000000000000000000000001",
    "permissions": ["2000020000000010"],
}
PLAN = {
    "targets": ["2000020000000011", "2000020000000013"],
    "lun": 3,
    "wwid": "naa.60012340000000000000000000000001",
    "size": 0,
}
LOCATION = parse(
    "https://server/cdmi/cdmi_objectid/00007E7F",
    (Server(url="https://server/cdmi/", storage_networks=()),),
)


def read(key: str = "Network/FC", **changes: Any) -> SeenExport:
    (seen,) = read_exports({key: ENTRY | changes}, protocols=("fc",))
    return seen


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("Network/FC", {}),
        ("network/fc", {}),
        ("FC", {}),
        ("Network/FCoE", {}),
        ("1", {"type": "FC"}),
        ("1", {"type": "FCoE"}),
        ("Network/FC", {"target_wwpns": ["0x2000020000000011", "20-00-02-00-00-00-00-13", "2000020000000011"]}),
        ("Network/FC", {"logical_unit_number": 3}),
        ("Network/FC", {"something_new": {"x": 1}}),
    ],
)
def test_an_entry_is_read_however_it_is_spelt(key: str, changes: dict[str, Any]) -> None:
    seen = read(key, **changes)
    assert (seen.protocol, seen.usable, seen.reason) == ("fc", True, "")
    assert seen.plan == PLAN and fc.plan_of(PLAN).as_json() == PLAN
    assert seen.permissions == ("2000020000000010",)


def test_a_number_as_the_kernel_has_it_is_the_same_lun() -> None:
    """Case 73: with the bits of flat space addressing, which some write along."""
    assert (read(logical_unit_number="16684").plan or {})["lun"] == 300


def test_one_target_may_stand_alone() -> None:
    assert (read(target_wwpns="2000020000000011").plan or {})["targets"] == ["2000020000000011"]


@pytest.mark.parametrize("missing", ["target_wwpns", "logical_unit_number"])
@pytest.mark.parametrize("nothing", [None, "", []])
def test_what_the_server_has_still_to_fill_in(missing: str, nothing: object) -> None:
    changes: dict[str, Any] = {missing: nothing}
    seen = read(**changes)
    assert not seen.usable and seen.pending
    assert f"not filled in {missing}" in seen.reason


def test_a_port_name_that_is_left_out_is_named() -> None:
    """Case 85, of the kind: one odd port does not spoil the list."""
    seen = read(target_wwpns=["2000020000000011", 7])
    assert seen.plan is not None and seen.plan["targets"] == ["2000020000000011"]
    assert any("target_wwpns[1]" in note for note in seen.notes)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"target_wwpns": ["iqn.2010-01.com.acme:t"]}, "target_wwpns[0]"),
        ({"target_wwpns": [7, "20:00"]}, "target_wwpns[0]"),
        ({"target_wwpns": {"a": "b"}}, "target_wwpns"),
        ({"target_wwpns": ["2000020000000011"] * 65}, "target_wwpns"),
        ({"logical_unit_number": "1e3"}, "logical_unit_number"),
        ({"logical_unit_number": "49152"}, "logical_unit_number"),
        ({"logical_unit_number": "65536"}, "logical_unit_number"),
        ({"logical_unit_name": "my disk"}, "logical_unit_name"),
        ({"permissions": {"a": 1}}, "permissions"),
    ],
)
def test_a_malformed_member_is_named(changes: dict[str, Any], field: str) -> None:
    seen = read(**changes)
    assert not seen.usable
    assert seen.reason.startswith(f'exports."Network/FC".{field}: ')


def host(*wwpns: str) -> HostSight:
    yes = Ability(available=True)
    return HostSight("h", "iqn.2010-01.com.acme:host1", wwpns, yes, yes, "6.1", "b")


def test_a_host_has_names_of_its_own_for_each_protocol() -> None:
    assert initiators.of_host("iscsi", host()) == ("iqn.2010-01.com.acme:host1",)
    assert initiators.of_host("fc", host("2000020000000010", "2000020000000012")) == (
        "2000020000000010",
        "2000020000000012",
    )
    with pytest.raises(Problem) as refused:
        initiators.of_host("fc", host())
    assert refused.value.code is Code.UNSUPPORTED_ON_HOST and refused.value.hint


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2000020000000010", "20:00:02:00:00:00:00:10", True),
        ("0x200002000000001A", "20-00-02-00-00-00-00-1a", True),
        ("2000020000000010", "2000020000000011", False),
        ("0x0000000000000001", "00000000000000001", False),
        ("IQN.2010-01.com.acme:HOST1", "iqn.2010-01.com.acme:host1", True),
        ("iqn.2010-01.com.acme:host1", "iqn.2010-01.com.acme:host2", False),
        ("", "2000020000000010", False),
    ],
)
def test_two_spellings_of_one_name(one: str, other: str, same: bool) -> None:
    """Case 16."""
    assert initiators.same(one, other) is same


def test_ports_are_granted_and_revoked_together_whatever_their_spelling() -> None:
    ours = ("2000020000000010", "2000020000000012")
    there = ("20:00:02:00:00:00:00:10", "20:00:02:00:00:00:00:99")
    grant, revoke = (Change(LOCATION, "Network/FC", ours, present=present) for present in (True, False))
    assert not grant.is_made(there) and not revoke.is_made(there)
    assert grant.applied(there) == [*there, "2000020000000012"], "who is there keeps his spelling"
    assert grant.is_made(tuple(grant.applied(there)))
    assert revoke.applied((*there, "0x2000020000000012")) == ["20:00:02:00:00:00:00:99"]
    assert revoke.is_made(("20:00:02:00:00:00:00:99",))


@pytest.mark.parametrize(
    ("allowed", "targets", "told"),
    [
        ((), PLAN["targets"], ""),
        (("2000020000000013",), ["2000020000000013"], "left out: target port 20:00:02:00:00:00:00:11 is not among"),
        (("2000020000000099",), None, "target port 20:00:02:00:00:00:00:11 is not among storage_wwpns of this server"),
    ],
)
def test_only_ports_that_the_configuration_allows_are_looked_behind(
    allowed: tuple[str, ...], targets: list[str] | None, told: str
) -> None:
    """A hostile server may name any LUN that zoning shows, also the one that this host boots from."""
    seen = networks.pin(read(), Server(url="https://server/cdmi/", storage_wwpns=allowed), {})
    assert (seen.plan and seen.plan["targets"]) == targets and seen.usable is (targets is not None)
    assert told in "; ".join((*seen.notes, seen.reason))
