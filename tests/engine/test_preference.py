"""Protocols in the order of preference: a first that fails is undone, the next is tried, and the answer says so."""

from typing import Any

import pytest

from agent.model import Request
from attachers.nfs_share import wwid_of
from attachers.problems import Code, Problem
from attachers.steps import CreateRecord, DeleteRecord, Login, Mount, RemoveDisk, Scan, Unmount
from tests.engine.cdmi_model import INITIATOR, LOCAL, PORTAL, REMOTE, SHARE, Object
from tests.engine.faults import Steps
from tests.engine.world import World, running

BOTH = ("iscsi", "fc")
FC_FIRST = ("fc", "iscsi")


def said(view: dict[str, object]) -> str:
    steps = view["steps"]
    assert isinstance(steps, list)
    return "; ".join(f"{step['what']}: {step.get('problem', '')}" for step in steps)


async def test_a_port_that_is_not_there_gives_way_to_the_next_protocol(world: World) -> None:
    source = world.add_object_with_two_exports(first={}, second={})
    before = world.kernel.inventory()
    async with running(world) as daemon:
        view = await daemon.attach("one", source, protocols=FC_FIRST)
        assert (view["phase"], view["protocol"], view["problem"]) == ("attached", "iscsi", None)
        assert "pass over fc (Network/Second): this host has no Fibre Channel port" in said(view)
        assert "fc (Network/Second) was preferred, and tried in vain: this host has no" in str(view["note"])
        obj = world.object()
        assert obj.instead and (obj.permissions, obj.instead.permissions) == ([INITIATOR], [])
        await daemon.detach("one")
        assert daemon.ledger.grants == set()
    assert world.kernel.inventory() == before
    assert world.object().permissions == []


async def test_what_was_made_for_the_first_is_undone_before_the_next_is_tried(world: World) -> None:
    world.cable()
    source = world.add_object_with_two_exports(first={"mapped": False}, second={})
    before = world.kernel.inventory()
    async with running(world) as daemon:
        steps = Steps(world)
        view = await daemon.attach("one", source, protocols=BOTH)
        assert (view["phase"], view["protocol"]) == ("attached", "fc")
        kinds = [type(step) for step in steps.taken]
        assert kinds.index(CreateRecord) < kinds.index(Login) < kinds.index(DeleteRecord) < kinds.index(Scan)
        assert not world.kernel.kernel.records
        obj = world.object()
        assert obj.instead and (obj.permissions, obj.instead.permissions) == ([], [LOCAL])
        await daemon.detach("one")
        assert not daemon.helper.guarded.created
    assert world.kernel.inventory() == before


async def test_a_first_one_that_only_waits_leaves_time_for_the_next(world: World) -> None:
    """The LUN never appears over Fibre Channel: half of the time is for iSCSI."""
    world.cable()
    source = world.add_object_with_two_exports(first={}, second={"mapped": False})
    async with running(world) as daemon:
        began = world.clock.now()
        view = await daemon.attach("one", source, protocols=FC_FIRST, timeout_s=40)
        assert view["protocol"] == "iscsi"
        assert 20 <= world.clock.now() - began < 30
        await daemon.detach("one")


async def test_when_all_fail_the_answer_tells_of_each_and_nothing_is_left(world: World) -> None:
    source = world.add_object_with_two_exports(first={"mapped": False}, second={})
    before = world.kernel.inventory()
    async with running(world) as daemon:
        with pytest.raises(Problem) as caught:
            await daemon.attach("one", source, protocols=FC_FIRST)
        assert caught.value.code is Code.TARGET_REFUSED
        assert "tried before in vain, and undone: fc (Network/Second): this host has no" in caught.value.detail
        assert daemon.engine.view("one")["phase"] == "failed"
        assert daemon.ledger.grants == set() and not daemon.helper.guarded.created
    assert world.kernel.inventory() == before


async def test_what_was_handed_out_stays_with_its_protocol(world: World) -> None:
    world.cable()
    source = world.add_object_with_two_exports(first={}, second={})
    async with running(world) as daemon:
        await daemon.attach("one", source, protocols=BOTH)
        world.kernel.set_session_state(world.object().target, PORTAL, "FAILED")
        with pytest.raises(Problem):
            await daemon.attach("one", source, protocols=BOTH, timeout_s=5)
        view = daemon.engine.view("one")
        assert (view["protocol"], view["phase"]) == ("iscsi", "degraded")


@pytest.mark.parametrize("code", [Code.CDMI_UNREACHABLE, Code.UNAVAILABLE])
async def test_what_is_the_matter_with_every_way_passes_nothing_over(world: World, code: Code) -> None:
    source = world.add_object_with_two_exports(first={}, second={})
    world.cable(REMOTE)
    async with running(world) as daemon:
        world.cdmi.down = Problem(code, "away")
        with pytest.raises(Problem) as caught:
            await daemon.attach("one", source, protocols=BOTH, timeout_s=5)
        assert caught.value.code is code
        assert "pass over" not in said(daemon.engine.view("one"))


async def test_a_detach_that_overtakes_the_change_wins(world: World) -> None:
    source = world.add_object_with_two_exports(first={"mapped": False}, second={})
    before = world.kernel.inventory()
    async with running(world) as daemon:
        steps = Steps(world)
        await daemon.engine.attach(Request("one", source, protocols=BOTH), wait_s=0)
        await steps.seen(Login)
        await daemon.detach("one")
        assert daemon.ledger.rows == {} and daemon.ledger.grants == set()
    assert world.kernel.inventory() == before


def add_lun_and_file(world: World, **lun: Any) -> str:
    """One object that is exported as a LUN over iSCSI, and as a file over NFS."""
    object_id = f"{1:032X}"
    file = Object(object_id, "images/1.img", 0, wwid_of(object_id), None, share=SHARE)
    return world.add_object(1, instead=file, **lun)


async def test_a_file_takes_the_place_of_a_lun_that_does_not_come(world: World) -> None:
    source = add_lun_and_file(world, mapped=False)
    async with running(world) as daemon:
        view = await daemon.attach("one", source, protocols=("iscsi", "nfs"))
        assert (view["phase"], view["protocol"], view["verified"]) == ("attached", "nfs", True)
        assert "was preferred, and tried in vain" in str(view["note"])
        assert not world.kernel.kernel.records
        await daemon.detach("one")
    assert not world.kernel.inventory() and world.object().permissions == []


async def test_a_lun_takes_the_place_of_a_file_whose_server_is_dead(world: World) -> None:
    """A mount that was broken off leaves nothing to undo."""
    source = add_lun_and_file(world)
    world.san.nfs.dead.add(SHARE.server)
    async with running(world) as daemon:
        steps = Steps(world)
        view = await daemon.attach("one", source, protocols=("nfs", "iscsi"))
        assert (view["phase"], view["protocol"]) == ("attached", "iscsi")
        assert "nfs (Network/Second) was preferred, and tried in vain" in str(view["note"])
        kinds = [type(step) for step in steps.taken]
        assert kinds.index(Mount) < kinds.index(Login) and not {Unmount, RemoveDisk} & set(kinds)
        assert not world.kernel.kernel.shares.mounts
        await daemon.detach("one")
    assert not world.kernel.inventory()


async def test_a_file_has_no_two_paths_so_the_lun_that_has_them_is_taken(world: World) -> None:
    world.kernel.kernel.multipathd.runs = True
    source = add_lun_and_file(world, portals=(PORTAL, "127.0.0.2:3260"))
    before = world.kernel.inventory()
    async with running(world) as daemon:
        view = await daemon.attach("one", source, protocols=("nfs", "iscsi"), min_paths=2)
        assert (view["phase"], view["protocol"]) == ("attached", "iscsi")
        assert len(view["device"]["paths"]) == 2
        assert "nfs (Network/Second) was preferred, and tried in vain: min_paths: 2 are asked for" in str(view["note"])
        await daemon.detach("one")
    assert world.kernel.inventory() == before and world.object().permissions == []


async def test_where_nothing_has_as_many_paths_each_is_told_and_nothing_was_begun(world: World) -> None:
    source = add_lun_and_file(world)
    async with running(world) as daemon:
        steps = Steps(world)
        with pytest.raises(Problem) as caught:
            await daemon.attach("one", source, protocols=("nfs", "iscsi"), min_paths=2)
        assert caught.value.code is Code.UNSUPPORTED_ON_HOST
        assert "tried before in vain, and undone: nfs (Network/Second): min_paths: 2" in caught.value.detail
        assert not steps.taken and daemon.ledger.grants == set()


async def test_one_that_failed_and_one_that_cannot_be_are_each_told_once(world: World) -> None:
    world.kernel.kernel.multipathd.runs = True
    source = add_lun_and_file(world, mapped=False, portals=(PORTAL, "127.0.0.2:3260"))
    async with running(world) as daemon:
        with pytest.raises(Problem) as caught:
            await daemon.attach("one", source, protocols=("iscsi", "nfs"), min_paths=2)
        assert caught.value.detail.startswith("min_paths: 2 are asked for")
        assert caught.value.detail.count("iscsi (") == 1
        assert daemon.ledger.grants == set() and not world.kernel.kernel.records
