"""NFS exports that name hosts: this one is let in before the mount, and out after the unmount, as an initiator is."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agent.host.simulated_faults import Moment
from agent.host.simulated_shares import HERE
from agent.model import Access, Present, Request
from attachers.problems import Code, Problem
from attachers.sights import Query
from attachers.steps import Mount, Step
from tests.engine.cdmi_model import SHARE
from tests.engine.test_nfs import FILE, refused
from tests.engine.world import BOTH, World, running

OTHER = "10.0.0.9"


@pytest.fixture
def world(fast_disk: Path) -> World:
    return World(fast_disk)


@pytest.mark.parametrize(
    ("how", "lists"),
    [
        ({}, {"rw_hosts": [OTHER, HERE], "root_hosts": [HERE]}),
        (FILE, {"rw_hosts": [OTHER, HERE]}),
        ({"access": Access.RO, **FILE}, {"rw_hosts": [OTHER], "ro_hosts": [HERE]}),
        ({"access": Access.RO}, {"rw_hosts": [OTHER, HERE], "root_hosts": [HERE]}),
    ],
)
async def test_this_host_is_named_for_what_it_does(world: World, how: dict[str, Any], lists: dict[str, Any]) -> None:
    """A disk is made by root, and for writing, also one that is to be read only."""
    source, entry = world.add_file(), world.cdmi.name_hosts(rw_hosts=[OTHER])
    async with running(world) as daemon:
        view = await daemon.attach("vm", source, **how)
        assert view["verified"] and entry == lists
        assert {grant.initiator.rpartition(" ")[2] for grant in daemon.ledger.grants} == {HERE}
        await daemon.detach("vm")
        assert {key: hosts for key, hosts in entry.items() if hosts} == {"rw_hosts": [OTHER]}
        assert not daemon.ledger.grants and not world.kernel.inventory()


async def test_named_before_the_mount_and_until_after_the_unmount(world: World) -> None:
    source, entry, seen = world.add_file(), world.cdmi.name_hosts(rw_hosts=[]), list[str]()

    async def step(moment: Moment, what: Step | Query) -> None:
        if isinstance(what, Mount) and moment is Moment.BEFORE:
            seen.append(f"mount {HERE in entry['rw_hosts']}")

    async def asked(moment: Moment, what: str, _uri: str) -> None:
        if what == "revoke" and moment is Moment.BEFORE:
            seen.append(f"revoke {len(world.kernel.kernel.shares.mounts)}")

    world.kernel.hook, world.cdmi.hook = step, asked
    async with running(world) as daemon:
        await daemon.attach("vm", source)
        await daemon.detach("vm")
    assert seen == ["mount True", "revoke 0"]


async def test_each_name_goes_with_the_last_that_relies_on_it(world: World) -> None:
    """The export is the container's, and all files in it share its lists; root goes with the last disk."""
    sources = [world.add_file(number) for number in (1, 2)]
    entry = world.cdmi.name_hosts(rw_hosts=[])
    async with running(world) as daemon:
        await daemon.attach("disk", sources[0])
        await daemon.attach("file", sources[1], **FILE)
        assert entry == {"rw_hosts": [HERE], "root_hosts": [HERE]}
        await daemon.detach("disk")
        assert entry == {"rw_hosts": [HERE], "root_hosts": []}
        assert (await daemon.attach("file", sources[1], **FILE))["phase"] == "attached"
        await daemon.detach("file")
        assert entry == {"rw_hosts": [], "root_hosts": []}


@pytest.mark.parametrize(
    "entry",
    [
        {"hosts": ["*"]},
        {"rw_hosts": ["127.0.0.0/8"], "root_hosts": ["127.0.0.*"]},
        {"rw_hosts": [HERE], "root_hosts": [HERE]},
        {"hosts": [HERE], "mode": "root"},
    ],
)
async def test_what_covers_this_host_already_is_left_alone(world: World, entry: dict[str, Any]) -> None:
    """Also its own name, where an administrator wrote it."""
    source, there = world.add_file(), world.cdmi.name_hosts(**entry)
    before = dict(there)
    world.san.nfs.allowed.pop(SHARE.source)  # as the server reads its wildcards
    async with running(world) as daemon:
        await daemon.attach("vm", source)
        assert there == before and not daemon.ledger.grants
        await daemon.detach("vm")
        assert there == before


async def test_without_a_route_nothing_is_granted(world: World) -> None:
    source, entry = world.add_file(), world.cdmi.name_hosts(rw_hosts=[])
    world.san.nfs.unreached.add(SHARE.server)
    async with running(world) as daemon:
        problem = await refused(daemon, source)
        assert problem.code is Code.TARGET_TIMEOUT and "ip route get" in problem.hint
        assert entry == {"rw_hosts": []} and not daemon.ledger.grants and not world.kernel.inventory()


@pytest.mark.parametrize("present", list(Present))
async def test_another_address_after_a_reboot_is_named_too(world: World, present: Present) -> None:
    source, entry = world.add_file(), world.cdmi.name_hosts(rw_hosts=[OTHER])
    async with running(world) as daemon:
        await daemon.attach("vm", source, present=present)
    world.kernel.reboot()
    world.kernel.kernel.shares.address = "127.0.0.101"
    async with running(world) as daemon:
        await daemon.engine.settled()
        assert daemon.engine.view("vm")["phase"] == "attached"
        assert entry["rw_hosts"] == [OTHER, "127.0.0.101"]
        assert entry.get("root_hosts") == (["127.0.0.101"] if present is Present.BLOCK else None), "the old one is gone"
        await daemon.detach("vm")
        assert entry["rw_hosts"] == [OTHER] and not entry.get("root_hosts")
        assert not daemon.ledger.grants and not world.kernel.inventory()


async def test_a_plan_of_an_earlier_life_is_undone(world: World) -> None:
    """Nothing was mounted yet when the host went down: whoever asked for it is gone, and so goes the old address."""
    source, entry, begun = world.add_file(), world.cdmi.name_hosts(rw_hosts=[OTHER]), asyncio.Event()

    async def stuck(moment: Moment, what: Step | Query) -> None:
        if isinstance(what, Mount) and moment is Moment.BEFORE:
            begun.set()
            await asyncio.Event().wait()

    world.kernel.hook = stuck
    async with running(world) as daemon:
        await daemon.engine.attach(Request("vm", source, **BOTH), wait_s=0)
        await begun.wait()
    world.kernel.hook = None
    world.kernel.reboot()
    world.kernel.kernel.shares.address = "127.0.0.101"
    world.cdmi.name_hosts(**entry)
    async with running(world) as daemon:
        await daemon.engine.settled()
        assert daemon.engine.view("vm")["phase"] == "failed" and not daemon.ledger.rows
        left = world.cdmi.resolve(source).exports[0].hosts
        assert left is not None and left["rw"] == (OTHER,) and not left["root"] and not daemon.ledger.grants


async def test_a_server_that_does_not_let_the_entry_be_changed_is_told(world: World) -> None:
    source = world.add_file()
    world.cdmi.name_hosts(rw_hosts=[])

    async def closed(moment: Moment, what: str, _uri: str) -> None:
        if what == "grant" and moment is Moment.BEFORE:
            raise Problem(Code.CDMI_REFUSED, "403", hint="ask its administrator")

    world.cdmi.hook = closed
    async with running(world) as daemon:
        assert (await refused(daemon, source)).code is Code.CDMI_REFUSED
        assert not world.kernel.inventory(), "it was not even mounted"
