"""Two daemons on two machines and one object: each lets itself in and out, both at once, on the real kernel.

Every round is a whole attach and detach through the installed daemon and helper: permission granted on the server over
the network, LUN scanned and proved by INQUIRY, read past every cache, disk removed, permission revoked. The one thing
that is saved is the login: each host keeps another LUN of the same target attached, so that its session stays and the
rounds are close together. `make soak` makes 200 (soak_grants.py); here there are fewer, as the guests are emulated.
"""

import pytest

from tests.lab.conftest import NewGuest
from tests.lab.stage import Lun, Stage
from tests.lab.two_hosts import STAMP, THIRD, TwoHosts, iqn, set_up

ROUNDS = 6


@pytest.fixture(scope="module")
def hosts(new_guest: NewGuest) -> TwoHosts:
    """Two guests, the server in the first."""
    return set_up(new_guest("test"), new_guest("test-other"))


@pytest.fixture(scope="module")
def lun(hosts: TwoHosts) -> Lun:
    """The LUN that both want, and that a third host may use as well."""
    return hosts.near.make_lun("contested", permissions=[THIRD], content=STAMP.encode().ljust(512, b"\0"))


def read(stage: Stage, name: str) -> str:
    """The first bytes of an attachment, past every cache."""
    link = f"/run/cdmi-attach/disk/{name}"
    return stage.guest.run(f"dd if={link} bs=512 count=1 iflag=direct status=none | head -c {len(STAMP)}").stdout


def test_each_host_in_turn_attaches_what_the_other_serves(hosts: TwoHosts, lun: Lun) -> None:
    """From nothing: login over the network, and logout."""
    for stage in (hosts.far, hosts.near):
        before = stage.inventory()
        stage.attach("turn", hosts.source(stage, lun))
        assert read(stage, "turn") == STAMP
        assert stage.status("turn")["device"]["wwid"] == lun.wwid
        assert hosts.permissions(lun) == [THIRD, iqn(stage)]
        stage.detach("turn")
        assert stage.inventory() == before
        assert hosts.permissions(lun) == [THIRD]


def test_permissions_end_exactly_right_however_often_both_come_and_go(hosts: TwoHosts, lun: Lun) -> None:
    hosts.anchor(lun)
    told = hosts.contest(lun, ROUNDS)
    print(*told, sep="\n")
    assert [wrong for one in told for wrong in one["wrong"]] == []
    assert hosts.permissions(lun) == [THIRD]
    hosts.weigh()


def test_both_hosts_at_once_are_let_in_read_write(hosts: TwoHosts, lun: Lun) -> None:
    """One daemon cannot see the other: whether a second host may write is for the server's permissions to say."""
    hosts.both(lambda stage: stage.attach("both", hosts.source(stage, lun)))
    assert sorted(hosts.permissions(lun)) == sorted([THIRD, *hosts.names])
    assert [stage.status("both")["access"] for stage in hosts.stages] == ["rw", "rw"]
    assert hosts.both(lambda stage: read(stage, "both")) == [STAMP, STAMP]
    hosts.both(lambda stage: stage.detach("both"))
    assert hosts.permissions(lun) == [THIRD]


def test_nothing_of_either_daemon_has_failed(hosts: TwoHosts) -> None:
    for stage in hosts.stages:
        assert stage.defects() == ""
