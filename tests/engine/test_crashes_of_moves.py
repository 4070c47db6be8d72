"""The crash suite over a unit that is found again elsewhere: ask, commit, leave the old place."""

from dataclasses import replace
from pathlib import Path

import pytest

from agent.host.simulated_san import Lun
from tests.engine.cdmi_model import INITIATOR, LOCAL, PORTAL, REMOTE, REMOTE_2, wwid_of
from tests.engine.test_crashes import Scene, Script, crash_everywhere, delete_all, give_all_up, one_lun, put_all
from tests.engine.world import Processes, World

OWN, NEWER = "iqn.2026-01.org.example:storage", "iqn.2026-01.org.example:storage-2"


async def a_lun_moves(world: World, daemon: Processes) -> None:
    """It has another number under its target: the server is asked again, and the old path goes (case 83)."""
    await put_all(world, daemon)
    world.change(lun=5)
    world.san.add(Lun("iqn.2026-01.org.example:lun1", (PORTAL,), 1, wwid_of(7), 1 << 20, (INITIATOR,)))
    await put_all(world, daemon)
    await give_all_up(world, daemon)


async def a_port_moves(world: World, daemon: Processes) -> None:
    """It is behind another port of the array, where the kernel brings back by itself what the server shows."""
    await put_all(world, daemon)
    world.change(target=REMOTE_2)
    world.san.add(Lun(REMOTE, (), 1, wwid_of(7), 1 << 20, (LOCAL,)))
    await put_all(world, daemon)
    await give_all_up(world, daemon)


async def a_name_changes(world: World, daemon: Processes) -> None:
    """The session is gone, the record damaged: made anew, a login says another name (case 87)."""
    await put_all(world, daemon)
    target = world.object().target
    world.kernel.foreign_logout(target, PORTAL)
    world.kernel.kernel.flaws[target, PORTAL] = "it is empty"
    world.kernel.kernel.ifaces["storage"] = NEWER
    await put_all(world, daemon)
    assert set(world.object().permissions or ()) == {OWN, NEWER}
    await delete_all(world, daemon)


def one_named(world: World) -> None:
    world.settings = replace(world.settings, iface="storage")
    world.kernel.kernel.ifaces["storage"] = OWN
    world.add_object(1)


def one_fibre_of_two(world: World) -> None:
    world.cable(REMOTE, REMOTE_2)
    world.add_fc_object(1)


@pytest.mark.parametrize("dies", ["both", "helper"])
@pytest.mark.parametrize("follow_up", ["finish", "undo"])
@pytest.mark.parametrize(("scene", "script"), [(one_lun, a_lun_moves), (one_fibre_of_two, a_port_moves)])
async def test_a_crash_while_a_lun_is_found_again(
    fast_disk: Path, scene: Scene, script: Script, follow_up: str, dies: str
) -> None:
    """Case 83: the new plan is committed before it is tried, and the old one kept until all of it is gone."""
    await crash_everywhere(fast_disk, scene, follow_up, script=script, dies=dies, stride=4, shared_by=2)


@pytest.mark.parametrize("follow_up", ["finish", "undo"])
async def test_a_crash_and_a_reboot_while_a_lun_is_found_again(fast_disk: Path, follow_up: str) -> None:
    await crash_everywhere(
        fast_disk, one_lun, follow_up, script=a_lun_moves, dies="both", stride=6, shared_by=2, reboot=True
    )


@pytest.mark.parametrize("dies", ["both", "daemon", "helper"])
@pytest.mark.parametrize("follow_up", ["finish", "undo"])
async def test_a_crash_while_a_new_name_is_permitted(fast_disk: Path, follow_up: str, dies: str) -> None:
    """Case 87: what was asked for under either name is taken back."""
    await crash_everywhere(fast_disk, one_named, follow_up, script=a_name_changes, dies=dies, stride=2, shared_by=6)


@pytest.mark.parametrize("follow_up", ["finish", "undo"])
async def test_a_crash_and_a_reboot_while_a_new_name_is_permitted(fast_disk: Path, follow_up: str) -> None:
    await crash_everywhere(
        fast_disk, one_named, follow_up, script=a_name_changes, dies="both", stride=5, shared_by=2, reboot=True
    )
