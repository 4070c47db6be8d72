"""Conversations with the engine about Fibre Channel, where the kernel itself finds, loses and brings back LUNs."""

import pytest

from agent.host.simulated_faults import Moment
from agent.model import Request
from attachers.problems import Code, Problem
from attachers.steps import Disown, Own, Publish, RemoveDevice, Scan, Unpublish
from tests.engine.cdmi_model import INITIATOR, LOCAL, REMOTE, REMOTE_2, wwid_of
from tests.engine.faults import Gate, Steps
from tests.engine.test_attachments import phase, refused
from tests.engine.world import World, running

VIA = "20:00:02:00:00:00:00:11 from 20:00:02:00:00:00:00:10"


async def test_attach_and_detach_leave_nothing(world: World) -> None:
    world.cable()
    source = world.add_fc_object()
    before = world.kernel.inventory()
    async with running(world) as daemon:
        steps = Steps(world)
        view = await daemon.attach("one", source)
        assert (view["phase"], view["protocol"], view["verified"]) == ("attached", "fc", True)
        assert view["device"]["path"] == f"/dev/cdmi-attach/{wwid_of(1)}"
        assert view["device"]["paths"][0]["via"] == VIA
        assert world.object().permissions == [LOCAL]
        assert [type(step) for step in steps.taken] == [Scan, Publish], "exactly that LUN, after we were let in"
        await daemon.detach("one")
        assert [type(step) for step in steps.taken[2:]] == [Unpublish, RemoveDevice, Disown]
        assert not daemon.helper.guarded.created
    assert world.kernel.inventory() == before
    assert world.object().permissions == []


async def test_the_lun_is_said_to_be_ours_before_the_server_is_asked_for_it(world: World) -> None:
    world.cable()
    source = world.add_fc_object()
    async with running(world) as daemon:
        gate = Gate(world, "grant")
        await daemon.engine.attach(Request("one", source, protocols=("fc",)), wait_s=0)
        await gate.reached.wait()
        assert [thing.name for thing in daemon.helper.guarded.created] == ["1"]
        gate.opened.set()
        await daemon.engine.settled()
        assert phase(daemon, "one") == "attached"
        await daemon.detach("one")


async def test_what_the_kernel_found_before_us_is_borrowed_and_stays(world: World) -> None:
    source = world.add_fc_object(permissions=[LOCAL])
    world.cable()
    before = world.kernel.inventory()
    async with running(world) as daemon:
        steps = Steps(world)
        view = await daemon.attach("one", source)
        assert view["phase"] == "attached"
        assert not any(isinstance(step, Scan) for step in steps.taken)
        world.flap()
        await daemon.detach("one")
        assert world.kernel.inventory() == before
        assert world.object().permissions == [LOCAL], "and so does the administrator's permission"
        assert not daemon.helper.guarded.created


async def test_a_cable_pulled_and_put_back_under_an_attachment(world: World) -> None:
    """The kernel removes the disk with its port and brings another back: it is still ours, and goes at the detach."""
    world.cable()
    source = world.add_fc_object()
    before = world.kernel.inventory()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        world.kernel.fabric.lose(REMOTE)
        assert not list(world.kernel.kernel.devices())
        world.kernel.fabric.plug(REMOTE)
        steps = Steps(world)
        view = await daemon.attach("one", source)
        assert view["phase"] == "attached"
        assert not any(isinstance(step, Scan) for step in steps.taken), "the kernel was faster"
        await daemon.detach("one")
        assert world.kernel.inventory() == before
        assert not daemon.helper.guarded.created


async def test_another_host_number_after_the_driver_was_loaded_again(world: World) -> None:
    world.cable()
    source = world.add_fc_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        world.kernel.fabric.reload(LOCAL)
        view = await daemon.attach("one", source)
        assert view["device"]["paths"][0]["hctl"] == "4:0:0:1"
        await daemon.detach("one")
        assert not list(world.kernel.kernel.devices()) and not world.kernel.kernel.claims


async def test_a_reboot_brings_the_lun_back_before_us_and_it_is_ours_all_the_same(world: World) -> None:
    world.cable()
    source = world.add_fc_object()
    before = world.kernel.inventory()
    async with running(world) as daemon:
        await daemon.attach("one", source)
    world.kernel.reboot()
    assert list(world.kernel.kernel.devices()), "the kernel finds all that its ports show"
    async with running(world) as daemon:
        await daemon.engine.settled()
        assert phase(daemon, "one") == "attached"
        await daemon.detach("one")
        assert world.kernel.inventory() == before


async def test_a_lun_that_returns_before_the_server_withdraws_it_is_removed_again(world: World) -> None:
    """Cases 11 and 12: the host lets go first, and a port that flaps meanwhile brings the disk back."""
    world.cable()
    source = world.add_fc_object()
    before = world.kernel.inventory()

    async def back_again(moment: Moment, what: str, _uri: str) -> None:
        if (moment, what) == (Moment.BEFORE, "revoke"):
            assert not list(world.kernel.kernel.devices())
            world.flap()
            assert list(world.kernel.kernel.devices())

    async with running(world) as daemon:
        await daemon.attach("one", source)
        world.cdmi.hook = back_again
        steps = Steps(world)
        await daemon.detach("one")
        assert [type(step) for step in steps.taken] == [Unpublish, RemoveDevice, RemoveDevice, Disown]
    assert world.kernel.inventory() == before


async def test_a_detached_lun_stays_ours_until_the_server_answers(world: World) -> None:
    """Case 11: the server is away for long; whatever comes back meanwhile is removed at the next try."""
    world.cable()
    source = world.add_fc_object()
    before = world.kernel.inventory()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        world.cdmi.down = Problem(Code.CDMI_UNREACHABLE, "no route")
        await refused(daemon.detach("one"), Code.CDMI_UNREACHABLE)
        assert phase(daemon, "one") == "failed"
        world.flap()
        assert list(world.kernel.kernel.devices())
        await refused(daemon.detach("one"), Code.CDMI_UNREACHABLE)
        assert not list(world.kernel.kernel.devices()), "removed again, though the server is still away"
        world.cdmi.down = None
        await daemon.detach("one")
        assert world.kernel.inventory() == before


async def test_after_the_end_what_comes_back_is_nobodys_business_of_ours(world: World) -> None:
    """Where an administrator's permission stays, the kernel brings the LUN back as it would without us."""
    world.cable()
    source = world.add_fc_object()
    world.change(permissions=[LOCAL])
    async with running(world) as daemon:
        await daemon.attach("one", source)
        await daemon.detach("one")
        assert not list(world.kernel.kernel.devices())
        world.flap()
        before = world.kernel.inventory()
        await daemon.attach("one", source)
        await daemon.detach("one")
        assert world.kernel.inventory() == before, "now it was there before us"


async def test_a_port_that_nobody_sees(world: World) -> None:
    world.cable(REMOTE_2)
    world.kernel.fabric.lose(REMOTE_2)
    source = world.add_fc_object()
    async with running(world) as daemon:
        problem = await refused(daemon.attach("one", source), Code.TARGET_TIMEOUT)
        assert "no port of this host sees 20:00:02:00:00:00:00:11" in problem.detail
        assert "20:00:02:00:00:00:00:10 (host3) is Online" in problem.detail
        assert "20:00:02:00:00:00:00:13 Not Present" in problem.detail
        assert "zoning" in problem.hint
        assert world.object().permissions == [], "nobody was asked to let us in"
        assert not daemon.helper.guarded.created


async def test_a_host_without_fibre_channel(world: World) -> None:
    source = world.add_fc_object()
    async with running(world) as daemon:
        problem = await refused(daemon.attach("one", source), Code.UNSUPPORTED_ON_HOST)
        assert "no Fibre Channel port" in problem.detail and problem.hint


async def test_a_blocked_port_is_waited_for(world: World) -> None:
    world.cable()
    source = world.add_fc_object()
    world.kernel.fabric.pull(REMOTE)
    async with running(world) as daemon:
        problem = await refused(daemon.attach("one", source, timeout_s=5.0), Code.TARGET_TIMEOUT)
        assert f"{VIA} (host3) is Blocked" in problem.detail
        world.kernel.fabric.plug(REMOTE)
        await daemon.attach("one", source)
        await daemon.detach("one")


async def test_a_lun_that_the_target_does_not_show(world: World) -> None:
    world.cable(REMOTE, REMOTE_2)
    source = world.add_fc_object(beside=(REMOTE_2,), mapped=False)
    async with running(world) as daemon:
        steps = Steps(world)
        problem = await refused(daemon.attach("one", source, timeout_s=5.0), Code.DEVICE_TIMEOUT)
        assert "to show LUN 1" in problem.detail
        scanned = [step.hctl for step in steps.taken if isinstance(step, Scan)]
        assert scanned[:4] == ["3:0:0:1", "3:0:1:1", "3:0:0:1", "3:0:1:1"], "exact addresses, each in turn"
        assert not daemon.helper.guarded.created


async def test_the_way_that_shows_the_right_lun_is_used(world: World) -> None:
    """One of two target ports maps nothing there."""
    world.cable(REMOTE, REMOTE_2)
    source = world.add_fc_object(beside=(REMOTE_2,), hidden=(REMOTE,))
    async with running(world) as daemon:
        view = await daemon.attach("one", source)
        assert [path["hctl"] for path in view["device"]["paths"]] == ["3:0:1:1"]
        await daemon.detach("one")
        assert not list(world.kernel.kernel.devices())


async def test_a_swapped_lun_is_refused(world: World) -> None:
    world.cable()
    source = world.add_fc_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        world.change(behind=wwid_of(9))
        problem = await refused(daemon.attach("one", source), Code.WRONG_DEVICE)
        assert wwid_of(9) in problem.detail
        steps = Steps(world)
        await refused(daemon.detach("one"), Code.DIRTY)
        await daemon.detach("one", force=True)
        removed = [step.wwid for step in steps.taken if isinstance(step, RemoveDevice)]
        assert removed == [None], "nothing is written to another volume"


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
async def test_two_attachments_of_one_lun(world: World, order: tuple[str, str]) -> None:
    world.cable()
    source = world.add_fc_object()
    before = world.kernel.inventory()
    async with running(world) as daemon:
        for name in ("one", "two"):
            await daemon.attach(name, source, share=True)
        await daemon.detach(order[0])
        assert list(world.kernel.kernel.devices()) and world.object().permissions == [LOCAL]
        world.flap()
        await daemon.detach(order[1])
        assert world.kernel.inventory() == before
        assert world.object().permissions == []
        assert not daemon.helper.guarded.created


async def test_the_initiator_name_is_not_asked_for(world: World) -> None:
    """Each protocol has names of its own."""
    world.cable()
    fibre, ethernet = world.add_fc_object(1), world.add_object(2)
    async with running(world) as daemon:
        await daemon.attach("fibre", fibre)
        await daemon.attach("ethernet", ethernet)
        assert (world.object(1).permissions, world.object(2).permissions) == ([LOCAL], [INITIATOR])
        await daemon.detach("fibre")
        await daemon.detach("ethernet")


def test_the_steps_say_what_they_do() -> None:
    assert Own((REMOTE,), 1).describe() == "expect LUN 1 of 20:00:02:00:00:00:00:11"
    assert Disown((REMOTE,), 1).describe() == "give up LUN 1 of 20:00:02:00:00:00:00:11"


@pytest.mark.parametrize("paths", [1, 2])
async def test_a_stale_disk_of_the_lun_is_no_reason_not_to_ask_for_the_permission(world: World, paths: int) -> None:
    """Case 105: somebody's disk is left from a permission that is gone; ours lets it answer."""
    world.kernel.kernel.multipathd.runs = paths == 2
    remotes = (REMOTE, REMOTE_2)[:paths]
    source = world.add_fc_object(1, permissions=[LOCAL], beside=remotes[1:])
    world.cable(*remotes)
    world.change(1, permissions=[])
    assert any(line.startswith("device") for line in world.kernel.inventory())
    async with running(world) as daemon:
        await daemon.attach("one", source)
        await daemon.engine.settled()
        view = daemon.engine.view("one")
        assert (view["phase"], view["verified"]) == ("attached", True)
        await daemon.detach("one")
        assert world.object().permissions == []
