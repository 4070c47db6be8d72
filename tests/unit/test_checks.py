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


@pytest.mark.parametrize("name", ["iqn.2003-01.org.x:../..", "iqn.2003-01.org.x/y", "iqn.2003-01.org.x:a\n", "-T", "."])
def test_a_target_is_no_path_and_no_option(name: str) -> None:
    with pytest.raises(Problem):
        checks.iqn(name)
