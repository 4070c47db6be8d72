"""One object that is reached through two configured servers is one object: for use, and for what was granted on it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from agent.engine.ledger import Grant
from agent.model import Access
from attachers.problems import Code, Problem
from tests.engine.cdmi_model import INITIATOR
from tests.engine.world import Processes, World, running

NUMBER = 0xAB


def through_both(world: World, **more: Any) -> tuple[str, str]:
    """An object's sources, one for each server."""
    source = world.add_object(NUMBER, **more)
    return source, source.replace("cdmi://server/", "cdmi://beside/")


async def attach_both(daemon: Processes, sources: tuple[str, str]) -> None:
    for name, source in zip(("one", "two"), sources, strict=True):
        assert (await daemon.attach(name, source, access=Access.RO))["phase"] == "attached"


async def test_it_is_attached_for_writing_once(world: World) -> None:
    sources = through_both(world)
    async with running(world) as daemon:
        await daemon.attach("one", sources[0])
        with pytest.raises(Problem, match="the object is attached here as one") as caught:
            await daemon.attach("two", sources[1])
        assert caught.value.code is Code.CONFLICT
        assert world.object(NUMBER).permissions == [INITIATOR]
        await daemon.detach("one")
        assert world.object(NUMBER).permissions == [] and not daemon.ledger.grants


@pytest.mark.parametrize("first", ["one", "two"])
@pytest.mark.parametrize("made", [False, True], ids=["exported", "exported by us"])
async def test_a_permission_stays_until_the_last_who_relies_on_it(world: World, first: str, made: bool) -> None:
    sources = through_both(world, exported=not made, offered=made)
    async with running(world) as daemon:
        await attach_both(daemon, sources)
        await daemon.detach(first)
        assert world.object(NUMBER).permissions == [INITIATOR] and world.object(NUMBER).exported
        await daemon.detach("two" if first == "one" else "one")
        assert world.object(NUMBER).permissions == [] and not daemon.ledger.grants
        assert world.object(NUMBER).exported is not made


async def test_what_an_administrator_has_permitted_stays(world: World) -> None:
    sources = through_both(world, permissions=[INITIATOR])
    async with running(world) as daemon:
        await attach_both(daemon, sources)
        assert not daemon.ledger.grants
        await daemon.detach("one")
        await daemon.detach("two")
        assert world.object(NUMBER).permissions == [INITIATOR]


async def test_a_permission_given_through_a_server_that_is_configured_no_more(world: World) -> None:
    """It is withdrawn through the other, and nothing more can be asked."""
    sources = through_both(world)
    async with running(world) as daemon:
        await attach_both(daemon, sources)
        row = daemon.ledger.rows["one"]
        await daemon.ledger.change(
            "one", grants=[Grant(f"https://gone/cdmi_objectid/{NUMBER:032X}", row.key, INITIATOR)]
        )
        find = world.cdmi._find

        def found(uri: str) -> object:
            if uri.startswith("https://gone/"):
                raise Problem(Code.FORBIDDEN, "source: no configured CDMI server", hint="")
            return find(uri)

        world.cdmi._find = found  # type: ignore[assignment,method-assign]
        await daemon.detach("one")
        await daemon.detach("two")
        assert world.object(NUMBER).permissions == [] and not daemon.ledger.grants


async def test_it_is_not_written_deleted_or_shrunk_under_its_users(world: World) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"

    sources = through_both(world)
    async with running(world) as daemon:
        await daemon.attach("one", sources[0])
        objects = daemon.engine.objects
        for work in (
            objects.write(sources[1], pieces(), length=1, replace=True),
            objects.delete(sources[1]),
            objects.resize(sources[1], 512, shrink=True),
        ):
            with pytest.raises(Problem, match="attached here as one") as caught:
                await work
            assert caught.value.code is Code.IN_USE
        await daemon.detach("one")
