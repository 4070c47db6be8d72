"""Conversations with the engine: attach, repeat, share, refuse, detach, restart."""

import asyncio

import pytest

from agent.model import Access, DomainRequest, Outcome, Request
from attachers.problems import Code, Problem
from attachers.steps import LINKS, Login, RemoveDevice, Scan
from tests.engine.cdmi_model import INITIATOR, PORTAL, wwid_of
from tests.engine.faults import Steps
from tests.engine.world import BOTH, Processes, World, running

TARGET = "iqn.2026-01.org.example:shared"


def phase(processes: Processes, name: str) -> str:
    return str(processes.engine.view(name)["phase"])


async def refused(work: "asyncio.Future[object] | object", code: Code) -> Problem:
    with pytest.raises(Problem) as caught:
        await work  # type: ignore[misc]
    assert caught.value.code is code, caught.value.detail
    return caught.value


async def test_attach_hands_out_a_verified_device_and_detach_leaves_nothing(world: World) -> None:
    source = world.add_object()
    before = world.kernel.inventory()
    async with running(world) as daemon:
        view = await daemon.attach("one", source)
        assert view["phase"] == "attached" and view["verified"]
        assert view["link"] == f"{LINKS}/one"
        assert view["device"]["path"] == f"/dev/cdmi-attach/{wwid_of(1)}"
        assert view["device"]["paths"][0]["via"] == PORTAL
        assert f"{LINKS}/one" in view["disk_xml"]
        what = [step["what"].split()[0] for step in view["steps"]]
        assert what == ["resolve", "expect", "grant", "record", "log", "scan", "publish"]
        assert world.object().permissions == [INITIATOR]
        await daemon.detach("one")
        assert daemon.views() == []
    assert world.kernel.inventory() == before
    assert world.object().permissions == []


async def test_a_repeated_attach_does_nothing(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        assert await daemon.outcome("one", source) is Outcome.CREATED
        steps = Steps(world)
        for _ in range(3):
            assert await daemon.outcome("one", source) is Outcome.ALREADY
        assert steps.taken == []
        await daemon.detach("one")
        await daemon.detach("one")


async def test_a_name_stands_for_one_source(world: World) -> None:
    first, second = world.add_object(1), world.add_object(2)
    async with running(world) as daemon:
        await daemon.attach("one", first)
        problem = await refused(daemon.attach("one", second), Code.CONFLICT)
        assert "name" in problem.detail and problem.hint
        await daemon.detach("one")


async def test_one_object_is_written_in_one_place(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        problem = await refused(daemon.attach("two", source), Code.CONFLICT)
        assert "one" in problem.detail
        assert phase(daemon, "two") == "failed"
        await daemon.detach("one")
        await daemon.attach("r1", source, access=Access.RO)
        await daemon.attach("r2", source, access=Access.RO)
        await daemon.detach("r1")
        assert phase(daemon, "r2") == "attached"
        assert world.object().permissions == [INITIATOR], "r2 still needs the grant"
        await daemon.detach("r2")
    assert world.object().permissions == []


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
async def test_two_luns_of_one_target_share_a_session(world: World, order: tuple[str, str]) -> None:
    sources = [world.add_object(n, target=TARGET, lun=n) for n in (1, 2)]
    before = world.kernel.inventory()
    async with running(world) as daemon:
        await daemon.attach("one", sources[0])
        steps = Steps(world)
        await daemon.attach("two", sources[1])
        assert [type(step).__name__ for step in steps.taken] == ["Scan", "Publish"], "no process for the second LUN"
        assert len(world.kernel.kernel.sessions) == 1
        steps = Steps(world)
        await daemon.detach(order[0])
        assert [type(step).__name__ for step in steps.taken] == ["Unpublish", "RemoveDevice", "Disown"]
        assert phase(daemon, order[1]) == "attached"
        await daemon.detach(order[1])
    assert world.kernel.inventory() == before


async def test_racing_attaches_on_one_target_log_in_once(world: World) -> None:
    sources = {f"a{n}": world.add_object(n, target=TARGET, lun=n) for n in range(1, 6)}
    before = world.kernel.inventory()
    async with running(world) as daemon:
        steps = Steps(world)
        await asyncio.gather(*(daemon.attach(name, source) for name, source in sources.items()))
        assert sum(isinstance(step, Login) for step in steps.taken) == 1
        await asyncio.gather(*(daemon.detach(name) for name in sources))
    assert world.kernel.inventory() == before


async def test_racing_attaches_of_one_object_are_one(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        outcomes = await asyncio.gather(
            daemon.outcome("one", source), daemon.outcome("two", source), return_exceptions=True
        )
        problems = [o for o in outcomes if isinstance(o, Problem)]
        assert [p.code for p in problems] == [Code.CONFLICT], outcomes
        await asyncio.gather(daemon.detach("one"), daemon.detach("two"))


async def test_a_foreign_session_is_borrowed_and_stays(world: World) -> None:
    source = world.add_object(permissions=[INITIATOR])
    target = world.object().target
    world.kernel.foreign_session(target, PORTAL)
    before = world.kernel.inventory()
    async with running(world) as daemon:
        steps = Steps(world)
        await daemon.attach("one", source)
        await daemon.detach("one")
        assert not any(isinstance(step, Login) for step in steps.taken)
    assert world.kernel.inventory() == before
    assert world.object().permissions == [INITIATOR], "it was there before us"


async def test_a_swapped_lun_is_refused(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source, access=Access.RO)
        world.change(behind=wwid_of(9))
        problem = await refused(daemon.attach("two", source, access=Access.RO), Code.WRONG_DEVICE)
        assert wwid_of(9) in problem.detail
        assert phase(daemon, "one") == "attached", "who has it already is not disturbed"
        steps = Steps(world)
        await daemon.detach("one")
        removed = [step.wwid for step in steps.taken if isinstance(step, RemoveDevice)]
        assert removed == [None], "nothing is written to another volume"


async def test_a_stale_device_of_ours_is_dropped_once_and_the_lun_looked_at_again(world: World) -> None:
    source = world.add_object()
    world.change(behind=wwid_of(9))
    before = world.kernel.inventory()
    async with running(world) as daemon:
        steps = Steps(world)
        await refused(daemon.attach("one", source), Code.WRONG_DEVICE)
        assert sum(isinstance(step, RemoveDevice) for step in steps.taken) == 2, "once to look again, once to undo"
    assert world.kernel.inventory() == before
    assert world.object().permissions == []


async def test_a_disk_in_use_is_not_detached_and_works_again_afterwards(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        view = await daemon.attach("one", source)
        hctl = view["device"]["paths"][0]["hctl"]
        world.kernel.open_device(hctl, holder="domain one-42 (qemu, pid 7)")
        before = world.kernel.inventory()
        problem = await refused(daemon.detach("one"), Code.IN_USE)
        assert "domain one-42" in problem.detail
        assert world.kernel.inventory() == before, "the link is back"
        assert phase(daemon, "one") == "attached"
        assert await daemon.outcome("one", source) is Outcome.ALREADY
        world.kernel.close_device(hctl, holder="domain one-42 (qemu, pid 7)")
        await daemon.detach("one")


async def test_the_disk_is_given_to_a_domain_and_taken_back(world: World) -> None:
    source = world.add_object()
    world.kernel.add_domain("one-42")
    before = world.kernel.inventory()
    async with running(world) as daemon:
        view = await daemon.attach("one", source, domain=DomainRequest("one-42", "sda"))
        assert view["domains"] == [{"name": "one-42", "target": "sda", "state": "given"}]
        assert f"disk sda of one-42: {LINKS}/one" in world.kernel.inventory()
        await daemon.detach("one")
    assert world.kernel.inventory() == before


async def test_a_domain_that_is_not_there_undoes_the_attach(world: World) -> None:
    source = world.add_object()
    before = world.kernel.inventory()
    async with running(world) as daemon:
        problem = await refused(daemon.attach("one", source, domain=DomainRequest("ghost", "sda")), Code.NOT_FOUND)
        assert "domain.name" in problem.detail
    assert world.kernel.inventory() == before


async def test_no_such_object_leaves_nothing(world: World) -> None:
    before = world.kernel.inventory()
    async with running(world) as daemon:
        await refused(daemon.attach("one", "cdmi://server/cdmi_objectid/404"), Code.NOT_FOUND)
        assert phase(daemon, "one") == "failed"
        await daemon.detach("one")
        assert daemon.views() == []
    assert world.kernel.inventory() == before


async def test_a_lun_that_never_appears_times_out_and_is_undone(world: World) -> None:
    source = world.add_object()
    other = world.add_object(2, target=world.object().target, lun=2, permissions=None)
    world.change(1, lun=77, mapped=False)
    before = world.kernel.inventory()
    async with running(world) as daemon:
        await daemon.attach("two", other)
        problem = await refused(daemon.attach("one", source, timeout_s=20), Code.DEVICE_TIMEOUT)
        assert "LUN 77" in problem.detail
        await daemon.detach("two")
    assert world.kernel.inventory() == before


async def test_a_restart_adopts_what_stands_without_touching_it(world: World) -> None:
    sources = [world.add_object(n, target=TARGET, lun=n) for n in (1, 2)]
    empty = world.kernel.inventory()
    async with running(world) as daemon:
        for name, source in zip(("one", "two"), sources, strict=True):
            await daemon.attach(name, source)
    before = world.kernel.inventory()
    async with running(world) as daemon:
        steps = Steps(world)
        await daemon.engine.settled()
        assert steps.taken == []
        assert [view["phase"] for view in daemon.views()] == ["attached", "attached"]
        assert world.kernel.inventory() == before
        await asyncio.gather(daemon.detach("one"), daemon.detach("two"))
    assert world.kernel.inventory() == empty


async def test_a_reboot_brings_the_attachments_back(world: World) -> None:
    source = world.add_object()
    empty = world.kernel.inventory()
    async with running(world) as daemon:
        await daemon.attach("one", source)
    world.kernel.reboot()
    async with running(world) as daemon:
        await Steps(world).seen(Login)
        assert phase(daemon, "one") == "degraded", "what does not stand yet is not said to"
        await daemon.engine.settled()
        assert phase(daemon, "one") == "attached"
        assert any(line.startswith("link one") for line in world.kernel.inventory())
        await daemon.detach("one")
    assert world.kernel.inventory() == empty


async def test_a_detach_overtakes_an_attach_that_waits(world: World) -> None:
    source = world.add_object()
    world.add_object(2, target=world.object().target, lun=5, permissions=None)
    world.change(mapped=False)
    empty = world.kernel.inventory()
    async with running(world) as daemon:
        attaching = asyncio.create_task(daemon.attach("one", source, timeout_s=600))
        await Steps(world).seen(Scan)
        await daemon.detach("one")
        await refused(attaching, Code.CONFLICT)
        assert daemon.views() == []
    assert world.kernel.inventory() == empty


async def test_a_server_that_is_away_at_detach_is_asked_again(world: World) -> None:
    source = world.add_object()
    empty = world.kernel.inventory()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        world.cdmi.down = Problem(Code.CDMI_UNREACHABLE, "the server is away")
        await refused(daemon.detach("one"), Code.CDMI_UNREACHABLE)
        assert world.kernel.inventory() == empty, "the host's side is done"
        assert phase(daemon, "one") == "failed"
        await refused(daemon.attach("one", source), Code.BUSY)
        world.cdmi.down = None
        await daemon.detach("one")
    assert world.object().permissions == []


async def test_a_late_request_is_refused_by_its_generation(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source, generation=7)
        await daemon.detach("one")
        await refused(daemon.attach("one", source, generation=6), Code.STALE)
    async with running(world) as daemon:
        await refused(daemon.attach("one", source, generation=6), Code.STALE)
        await daemon.attach("one", source, generation=7)
        await daemon.detach("one")


async def test_a_caller_who_does_not_wait_is_told_so(world: World) -> None:
    source = world.add_object()
    world.add_object(2, target=world.object().target, lun=5, permissions=None)
    world.change(mapped=False)
    async with running(world) as daemon:
        outcome, view = await daemon.engine.attach(Request("one", source, **BOTH), wait_s=0)
        assert outcome is Outcome.PENDING and view["phase"] == "attaching" and view["link"] is None
        world.change(mapped=True)
        assert await daemon.outcome("one", source) is Outcome.CREATED
        await daemon.detach("one")


async def test_every_step_and_phase_is_told_as_it_happens(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        await daemon.detach("one")
        events = daemon.engine.events.since(0, attachment="one")
        began, ended = ([e["what"] for e in events if e["kind"] == kind] for kind in ("step-began", "step-ended"))
        assert [what.split()[0] for what in began] == [
            *(
                "resolve",
                "expect",
                "record",
                "grant",
                "log",
                "scan",
                "publish",
            ),  # the record is made while the server is asked
            *("unpublish", "flush", "log", "forget", "revoke", "give"),
        ]
        assert [e["phase"] for e in events if e["kind"] == "phase"] == ["attaching", "attached", "detaching", "gone"]
        assert sorted(began) == sorted(ended)


async def test_a_disk_is_handed_to_one_domain_after_the_other(world: World) -> None:
    source = world.add_object()
    for domain in ("one-42", "one-43"):
        world.kernel.add_domain(domain)
    before = world.kernel.inventory()
    async with running(world) as daemon:
        await refused(daemon.engine.give("one", DomainRequest("one-42", "sda")), Code.NOT_FOUND)
        await daemon.attach("one", source)
        view = await daemon.engine.give("one", DomainRequest("one-42", "sda"))
        assert view["domains"] == [{"name": "one-42", "target": "sda", "state": "given"}]
        steps = Steps(world)
        await daemon.engine.give("one", DomainRequest("one-42", "sda"))
        assert steps.taken == [], "it has the disk already"
        await daemon.engine.take("one", "one-42")
        await daemon.engine.take("one", "one-42")
        assert daemon.engine.view("one")["domains"] == []
        await refused(daemon.engine.give("one", DomainRequest("ghost", "sda")), Code.NOT_FOUND)
        assert daemon.engine.view("one")["domains"] == [], "what was not given is not shown"
        await daemon.engine.give("one", DomainRequest("one-43", "vdb"))
        assert f"disk vdb of one-43: {LINKS}/one" in world.kernel.inventory()
        await daemon.detach("one")
        await daemon.engine.take("one", "one-43")
    assert world.kernel.inventory() == before


async def test_a_domain_keeps_its_disk_when_the_detach_is_refused_for_somebody_else(world: World) -> None:
    source = world.add_object()
    world.kernel.add_domain("one-42")
    async with running(world) as daemon:
        view = await daemon.attach("one", source, domain=DomainRequest("one-42", "sda"))
        hctl = view["device"]["paths"][0]["hctl"]
        world.kernel.open_device(hctl, holder="a backup (pid 7)")
        before = world.kernel.inventory()
        problem = await refused(daemon.detach("one"), Code.IN_USE)
        assert "a backup" in problem.detail and "one-42" not in problem.detail
        assert world.kernel.inventory() == before, "the domain still has its disk"
        assert phase(daemon, "one") == "attached"
        world.kernel.close_device(hctl, holder="a backup (pid 7)")
        await daemon.detach("one")


async def test_a_plan_of_another_version_keeps_the_daemon_from_starting_and_is_named(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        daemon.desk.attachers = {"nvme": daemon.desk.attacher("iscsi")}  # a version that does not know iscsi
        with pytest.raises(Problem, match=r"attachment one, whose plan \(iscsi\)") as caught:
            await daemon.ledger.load()
        assert "install the version" in caught.value.hint
