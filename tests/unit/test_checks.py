"""Names from outside: what must never reach iscsid's database, a path or a command line."""

import pytest

from attachers import checks
from attachers.problems import Code, Problem
from attachers.steps import CreateRecord, Login

TARGET = "iqn.2003-01.org.example:t"


@pytest.mark.parametrize(
    "portal",
    [
        "[fe80::1%eth0]:3260",
        "[fe80::1%x\nnode.startup = automatic]:3260",  # a line of the record: Python takes any text for a zone
        "[fe80::1%\0]:3260",
        f"[fe80::1%{'a' * 300}]:3260",
        "fe80::1%-x",
        "10.0.0.1:3260\n",
        "10.0.0.1 :3260",
        "-10.0.0.1:3260",
        "[10.0.0.1:3260",
        "[::1]3260x",
        "10.0.0.1:0",
        "10.0.0.1:65536",
        "10.0.0.1:\u0663",
    ],
)
def test_a_portal_is_an_address_and_a_port_and_nothing_else(portal: str) -> None:
    for make in (checks.portal, lambda text: CreateRecord(TARGET, text), lambda text: Login(TARGET, text)):
        with pytest.raises(Problem) as refused:
            make(portal)
        assert refused.value.code is Code.INVALID_REQUEST
        assert "\n" not in refused.value.detail


@pytest.mark.parametrize(
    ("portal", "canonical"),
    [
        ("10.0.0.1", "10.0.0.1:3260"),
        ("10.0.0.1:03260,1", "10.0.0.1:3260"),
        ("FD00:0::1", "[fd00::1]:3260"),
        ("[::ffff:127.0.0.1]:3260", "127.0.0.1:3260"),  # the same place, and as such outside of ::/0
        ("[fd00::1]:860,1", "[fd00::1]:860"),
    ],
)
def test_a_portal_has_one_spelling(portal: str, canonical: str) -> None:
    assert checks.portal(portal) == checks.portal(canonical) == canonical


@pytest.mark.parametrize(
    ("spelt", "normal"),
    [
        ("20:00:02:00:00:00:00:11", "2000020000000011"),
        ("0x2000020000000011", "2000020000000011"),
        ("20-00-02-00-00-00-00-1A", "200002000000001a"),
        ("naa.5001405ABCDEF012", "5001405abcdef012"),
        ("0x0000000000000001", "0000000000000001"),  # vdsm's lstrip("0x") makes 1 of it
        ("00:00:00:00:00:00:00:01", "0000000000000001"),
        ("0X2000020000000011", "2000020000000011"),
    ],
)
def test_a_port_name_has_one_normal_form(spelt: str, normal: str) -> None:
    """Case 16."""
    assert checks.wwpn(spelt) == checks.wwpn(normal) == normal
    assert checks.is_wwpn(normal) and checks.wwpn(checks.with_colons(normal)) == normal


@pytest.mark.parametrize(
    "name",
    [
        *("", "2000", "20000200000000111", "0x200002000000001", "20:00:02:00:00:00:00", "20:00020000000011"),
        *("2" * 15 + "g", "2000020000000011\n", " 2000020000000011", "iqn.2003-01.org.example:t", "\u0662" * 16),
    ],
)
def test_what_is_no_port_name(name: str) -> None:
    with pytest.raises(Problem) as refused:
        checks.wwpn(name, field="permissions[0]")
    assert refused.value.code is Code.INVALID_REQUEST and "permissions[0]" in refused.value.detail


def test_the_ends_of_a_nexus_are_of_one_kind() -> None:
    checks.nexus("2000020000000011", "2000020000000010")
    checks.nexus(TARGET, "10.0.0.1:3260")
    for target, local in (("2000020000000011", "10.0.0.1:3260"), (TARGET, "2000020000000010"), ("20:00", "20:01")):
        with pytest.raises(Problem):
            checks.nexus(target, local)


@pytest.mark.parametrize("name", ["iqn.2003-01.org.x:../..", "iqn.2003-01.org.x/y", "iqn.2003-01.org.x:a\n", "-T", "."])
def test_a_target_is_no_path_and_no_option(name: str) -> None:
    with pytest.raises(Problem):
        checks.iqn(name)
