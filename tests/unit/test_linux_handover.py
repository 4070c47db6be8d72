"""Hand-over to a domain: what the link leads to proves itself at that moment, and is held while libvirt opens it."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.host import domains, scsi_generic
from attachers.problems import Code, Problem
from tests.unit.linux_tree import WWID

OTHER = f"{WWID[:-1]}f"


class Domain:
    """A running domain without disks; it notes who has the disk open when one is plugged in."""

    def __init__(self, node: Path) -> None:
        self.node = node
        self.plugged: list[bool] = []

    def XMLDesc(self, flags: int) -> str:
        return "<domain><devices/></domain>"

    def attachDeviceFlags(self, xml: str, flags: int) -> None:
        assert "/run/cdmi-attach/disk/vm" in xml and flags == 1
        mine = {str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()}
        self.plugged.append(str(self.node) in mine)


@pytest.fixture
def domain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Domain:
    node = tmp_path / "sda"
    node.touch()
    (tmp_path / WWID).symlink_to("sda")
    found = Domain(node)

    @contextmanager
    def running(_: str) -> Iterator[Domain]:
        yield found

    monkeypatch.setattr(domains, "_running", running)
    monkeypatch.setattr(domains, "_live", lambda: 1)
    monkeypatch.setattr(stat, "S_ISBLK", lambda _: True)
    monkeypatch.setattr(scsi_generic, "identify", lambda _: {WWID})
    return found


def give(domain: Domain) -> None:
    unit = {"node": str(domain.node.parent / WWID), "wwid": WWID}
    domains.give_disk("vm", "web", "sda", "scsi", False, "block", unit)


def test_a_disk_that_proves_itself_is_held_while_it_is_plugged_in(domain: Domain) -> None:
    give(domain)
    assert domain.plugged == [True]


def test_another_disk_behind_the_link_is_not_plugged_in(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 96."""
    monkeypatch.setattr(scsi_generic, "identify", lambda _: {OTHER})
    with pytest.raises(Problem) as refused:
        give(domain)
    assert refused.value.code is Code.WRONG_DEVICE and OTHER in refused.value.detail and not domain.plugged


def test_a_link_that_leads_nowhere_is_said_so(domain: Domain) -> None:
    domain.node.unlink()
    with pytest.raises(Problem) as refused:
        give(domain)
    assert refused.value.code is Code.DEVICE_TIMEOUT and WWID in refused.value.detail and not domain.plugged
