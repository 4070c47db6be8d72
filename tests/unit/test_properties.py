"""What holds for every input: typed problems only, bounded; and what is read and written again is the same.

The targets are those of `make fuzz`, which goes on for as long as one likes.
"""

import string
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.cdmi import networks, sources
from agent.cdmi.grants import Change
from agent.cdmi.server import Server
from agent.cdmi.sources import Location
from agent.cli import show
from attachers import checks, nfs_checks
from attachers.problems import Problem
from tests.fuzz.answers import Answers
from tests.fuzz.hostile import MOST, Hostile
from tests.fuzz.run import NAMES
from tests.fuzz.targets import SERVER, TARGETS

settings.register_profile(
    "ours",
    derandomize=True,  # a red test is red for everybody; chance has its place in `make fuzz`
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
settings.load_profile("ours")
ANY = st.binary(max_size=1024)
TEXTS = st.text(max_size=60) | st.text(alphabet=string.ascii_letters + string.digits + ".:/[]-_,%", max_size=60)
NAMES_IN_PATHS = st.text(alphabet=string.ascii_letters + string.digits + "._@%+=,-", min_size=1, max_size=20)


@pytest.fixture(scope="module")
def answers() -> Iterator[Answers]:
    made = Answers()
    yield made
    made.close()


@pytest.fixture(scope="module")
def hostile() -> Iterator[Hostile]:
    made = Hostile()
    yield made
    made.close()


def test_every_target_is_fired_at() -> None:
    assert {*TARGETS, "answers", "helper"} == set(NAMES)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=300)
@given(data=ANY)
def test_only_typed_problems_come_of_anything(name: str, data: bytes) -> None:
    TARGETS[name](data)


@settings(max_examples=150)
@given(data=ANY)
def test_whatever_a_server_answers(answers: Answers, data: bytes) -> None:
    answers.run(data)


@settings(max_examples=12)
@given(data=ANY)
def test_whatever_a_daemon_that_was_taken_over_asks_of_the_helper(hostile: Hostile, data: bytes) -> None:
    assert hostile.run(data) >= MOST


@given(text=TEXTS)
def test_a_portal_in_canonical_form_stays_as_it_is(text: str) -> None:
    try:
        portal = checks.portal(text)
    except Problem:
        return
    assert checks.portal(portal) == portal
    host, port = checks.split_portal(portal)
    assert 1 <= port <= 65535 and not set(host) & set(" ,/%\n\0")


@given(text=TEXTS | st.builds("iqn.2026-01.org.example:{}".format, st.text(max_size=20)))
def test_a_targets_name_can_be_a_directory(text: str) -> None:
    try:
        name = checks.iqn(text)
    except Problem:
        return
    assert checks.iqn(name) == name
    assert name.isascii() and "/" not in name and ".." not in name and len(name) <= 223


@given(text=TEXTS | st.builds("/{}".format, TEXTS))
def test_an_exports_path_stays_as_it_is_and_leads_nowhere_else(text: str) -> None:
    try:
        path = nfs_checks.export(text)
    except Problem:
        return
    assert nfs_checks.export(path) == path
    assert path.startswith("/") and not {".", ".."} & set(path.split("/"))


@given(names=st.lists(NAMES_IN_PATHS, min_size=1, max_size=8))
def test_a_plain_path_is_allowed_unless_it_is_a_dot(names: list[str]) -> None:
    path = "/".join(names)
    if {".", ".."} & set(names):
        with pytest.raises(Problem):
            nfs_checks.file(path)
    else:
        assert nfs_checks.file(path) == path


@given(names=st.lists(st.text(min_size=1, max_size=10), max_size=5), slash=st.booleans())
def test_a_place_is_found_again_by_its_url(names: list[str], slash: bool) -> None:
    if any("/" in name or "\\" in name or name in (".", "..") or not name.isprintable() for name in names):
        return
    if names[:1] == ["cdmi_objectid"]:
        return
    location = Location(SERVER, tuple(names), slash or not names)
    assert sources.parse(location.url, [SERVER]) == location


@given(address=st.ip_addresses())
def test_what_is_special_is_never_allowed_by_a_wide_network(address: networks.Address) -> None:
    import ipaddress

    wide = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
    special = address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified
    assert networks.allows(wide, address) == (not special)


@given(before=st.lists(st.text(min_size=1, max_size=8), max_size=8), name=st.text(min_size=1, max_size=8))
def test_a_grant_and_its_revocation_leave_all_others(before: list[str], name: str) -> None:
    grant, revoke = (Change(Location(Server("https://x/"), (), True), "k", (name,), present=on) for on in (True, False))
    there = tuple(before)
    granted = tuple(grant.applied(there)) if not grant.is_made(there) else there
    assert grant.is_made(granted)
    gone = tuple(revoke.applied(granted))
    assert revoke.is_made(gone)
    mine = [one for one in before if one not in gone]
    assert [one for one in before if one not in mine] == list(gone)


@given(text=st.text())
def test_what_is_shown_is_one_line(text: str) -> None:
    assert show.visible(text).isprintable() or not text
