"""The interface of open-iscsi that is configured has an initiator name of its own: that is the one to be permitted."""

from dataclasses import replace

import pytest

from agent.model import Access
from agent.uses import Despite
from attachers.problems import Code, Problem
from tests.engine.cdmi_model import INITIATOR
from tests.engine.world import World, running

OWN, NEWER = "iqn.2026-01.org.example:storage", "iqn.2026-01.org.example:storage-2"
IFACE = "storage"


@pytest.fixture
def named(world: World) -> World:
    """A host whose configured interface has a name of its own."""
    world.settings = replace(world.settings, iface=IFACE)
    rename(world, OWN)
    return world


def rename(world: World, name: str) -> None:
    world.kernel.kernel.ifaces[IFACE] = name


async def test_the_name_that_the_login_says_is_permitted_and_taken_back(named: World) -> None:
    """Case 87: asked for the host's own name, the target refuses the login."""
    source, before = named.add_object(), named.kernel.inventory()
    async with running(named) as daemon:
        assert (await daemon.attach("vm", source))["verified"]
        assert named.object().permissions == [OWN]
        assert (await daemon.engine.host())["initiator_name"] == OWN
    async with running(named) as daemon:
        await daemon.detach("vm")
    assert named.object().permissions == [] and named.kernel.inventory() == before


async def test_an_interface_without_a_name_says_the_hosts(world: World) -> None:
    world.settings = replace(world.settings, iface=IFACE)
    source = world.add_object()
    async with running(world) as daemon:
        assert (await daemon.attach("vm", source))["verified"]
        assert world.object().permissions == [INITIATOR]
        assert (await daemon.engine.host())["initiator_name"] == INITIATOR
        await daemon.detach("vm")
    assert world.object().permissions == []


async def test_what_was_permitted_under_a_former_name_is_taken_back(named: World) -> None:
    """The ledger knows under which name; one that somebody else permitted stays."""
    source = named.add_object(permissions=[NEWER])
    async with running(named) as daemon:
        await daemon.attach("vm", source)
        assert named.object().permissions == [NEWER, OWN]
    rename(named, NEWER)
    async with running(named) as daemon:
        await daemon.detach("vm")
    assert named.object().permissions == [NEWER]


@pytest.mark.parametrize("to", [NEWER, INITIATOR])
async def test_after_a_boot_a_new_name_is_permitted_as_well(named: World, to: str) -> None:
    """The record is made anew then, and with it the name; both are taken back."""
    source, before = named.add_object(), named.kernel.inventory()
    async with running(named) as daemon:
        await daemon.attach("vm", source)
    named.kernel.reboot()
    rename(named, to)
    async with running(named) as daemon:
        assert (await daemon.attach("vm", source))["phase"] == "attached"
        assert sorted(named.object().permissions or []) == sorted([OWN, to])
        await daemon.detach("vm")
    assert named.object().permissions == [] and named.kernel.inventory() == before


async def test_a_new_name_that_somebody_else_permitted_stays_permitted(named: World) -> None:
    """The target refused for another reason: it was not looked at before."""
    source = named.add_object()
    async with running(named) as daemon:
        await daemon.attach("vm", source)
    named.kernel.reboot()
    rename(named, NEWER)
    named.change(permissions=[OWN, NEWER])
    async with running(named) as daemon:
        await daemon.attach("vm", source)
        await daemon.detach("vm")
    assert named.object().permissions == [NEWER]


@pytest.mark.parametrize("name", [OWN, INITIATOR, OWN.upper().replace("IQN", "iqn")])
async def test_this_host_is_not_fenced_off_by_any_of_its_names(named: World, name: str) -> None:
    source = named.add_object()
    async with running(named) as daemon:
        await daemon.attach("vm", source)
        with pytest.raises(Problem) as caught:
            await daemon.engine.objects.fence(source, [name])
        assert caught.value.code is Code.IN_USE
        rename(named, NEWER)  # the session still has the former one
        with pytest.raises(Problem):
            await daemon.engine.objects.fence(source, [name])
        assert named.object().permissions == [OWN]
        await daemon.detach("vm")


async def test_two_attachments_under_two_names_are_let_go_with_the_last(named: World) -> None:
    source = named.add_object()
    async with running(named) as daemon:
        await daemon.attach("one", source, access=Access.RO)
        rename(named, NEWER)
        await daemon.attach("two", source, access=Access.RO)
        await daemon.detach("one")
        assert OWN in (named.object().permissions or []), "the session of the other one has that name"
        await daemon.detach("two")
    assert named.object().permissions == []


async def test_neither_name_is_another_hosts(named: World) -> None:
    """A change of the object is refused for what others use, not for what this host may."""
    source = named.add_object(permissions=[INITIATOR, OWN])
    async with running(named) as daemon:
        smaller = named.object().size // 2
        await daemon.engine.objects.resize(source, smaller, shrink=True, despite=Despite())
        assert named.object().size == smaller
