"""The processes are killed before and after every look, step, commit and CDMI call; then started again.

Whatever the point, the follow-up must end with everything attached and right, or with nothing left and nothing foreign
touched: `finish` repeats the request, `undo` asks for the opposite at once.
The ways to die divide the points of a scene; `make crashes` (CDMI_CRASHES=all) has each die at all of them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from agent.cdmi import nfs_hosts
from agent.engine.lun_content import WINDOW
from agent.host.simulated_faults import Moment
from agent.model import DomainRequest, Part, Present
from attachers.problems import Code, Problem
from attachers.sights import Query
from attachers.steps import RemoveDevice, Step
from tests.engine.cdmi_model import INITIATOR, LOCAL, PORTAL, REMOTE, REMOTE_2, SHARE, wwid_of
from tests.engine.trip import share_of
from tests.engine.world import Crash, Processes, Trip, World, running

Scene = Callable[[World], None]
Script = Callable[[World, Processes], Awaitable[None]]
TARGET = "iqn.2026-01.org.example:shared"
OTHER_PORTAL = "127.0.0.2:3260"


def sources_of(world: World) -> dict[str, str]:
    return {f"a{number}": f"cdmi://server/cdmi_objectid/{oid}" for number, oid in enumerate(sorted(world.cdmi.objects))}


async def put_all(world: World, daemon: Processes) -> None:
    domain = DomainRequest("one-42", "sda") if world.kernel.kernel.domains else None
    for name, source in sources_of(world).items():
        await daemon.attach(name, source, domain=domain, present=world.present)


async def delete_all(world: World, daemon: Processes) -> None:
    for name in sources_of(world):
        await daemon.detach(name)


async def give_all_up(world: World, daemon: Processes) -> None:
    """Another unit was seen behind a disk: nobody knows where what was written to it is."""
    for name in sources_of(world):
        await daemon.detach(name, force=True)


async def come_and_go(world: World, daemon: Processes) -> None:
    await put_all(world, daemon)
    await daemon.engine.settled()
    await delete_all(world, daemon)


async def a_lun_is_swapped(world: World, daemon: Processes) -> None:
    """Another volume answers behind the disk's back, from the attach on."""
    await put_all(world, daemon)
    world.change(behind=wwid_of(9))

    async def nothing_is_written(_moment: Moment, what: Step | Query) -> None:
        assert not (isinstance(what, RemoveDevice) and what.wwid), "something was written to another volume"

    world.kernel.hook = nothing_is_written
    with suppress(Problem):
        await put_all(world, daemon)
    await give_all_up(world, daemon)


async def a_disk_is_in_use(world: World, daemon: Processes) -> None:
    """Somebody has the disk open at the detach, and sees it go away never."""
    await put_all(world, daemon)
    world.kernel.open_device("3:0:0:1")
    with suppress(Problem):
        await delete_all(world, daemon)
    world.kernel.close_device("3:0:0:1")
    await delete_all(world, daemon)


async def a_cable_is_pulled(world: World, daemon: Processes) -> None:
    """The kernel takes the disks away with their port, and brings them back with it, by itself."""
    await put_all(world, daemon)
    world.flap()
    with suppress(Problem):
        await put_all(world, daemon)
    world.kernel.fabric.lose(REMOTE)
    await delete_all(world, daemon)
    world.kernel.fabric.plug(REMOTE)


async def the_server_is_slow_to_withdraw(world: World, daemon: Processes) -> None:
    """A port returns after our disk is gone, and before the server has taken the permission back."""

    async def back_again(moment: Moment, what: str, _uri: str) -> None:
        if (moment, what) == (Moment.BEFORE, "revoke"):
            world.flap()

    world.cdmi.hook = back_again
    await come_and_go(world, daemon)


async def a_lun_is_read(world: World, daemon: Processes) -> None:
    """Three windows of its content and a bit, by an attachment that nobody asked for."""
    wanted = 3 * WINDOW + 1
    for source in sources_of(world).values():
        async with daemon.engine.objects.read(source, part=Part(0, wanted - 1), tag="") as reading:
            assert len(b"".join([piece async for piece in reading.pieces])) == wanted


def one_lun(world: World) -> None:
    world.add_object(1)


def two_luns_of_one_target(world: World) -> None:
    for number in (1, 2):
        world.add_object(number, target=TARGET, lun=number)


def a_foreign_session(world: World) -> None:
    world.add_object(1, target=TARGET, lun=1, permissions=[INITIATOR])
    world.add_object(2, target=TARGET, lun=2, permissions=["iqn.2026-01.org.example:other", INITIATOR])
    world.kernel.foreign_session(TARGET, PORTAL)
    world.kernel.foreign_device(TARGET, PORTAL, 2)
    del world.cdmi.objects[f"{2:032X}"]


def a_domain(world: World) -> None:
    world.add_object(1)
    world.kernel.add_domain("one-42")


def two_portals(world: World) -> None:
    world.kernel.kernel.multipathd.runs = True
    world.add_object(1, portals=(PORTAL, OTHER_PORTAL))


def behind_fibre_channel(world: World) -> None:
    world.cable()
    for number in (1, 2):
        world.add_fc_object(number, lun=number)


def two_fibres(world: World) -> None:
    world.kernel.kernel.multipathd.runs = True
    world.cable(REMOTE, REMOTE_2)
    world.add_fc_object(1, beside=(REMOTE_2,))


def a_lun_that_the_kernel_found(world: World) -> None:
    """The administrator permitted it, so that the kernel found it before us; another one comes with us."""
    world.add_fc_object(1, permissions=[LOCAL])
    world.cable()
    world.add_fc_object(2, lun=2)


def a_first_protocol_that_fails(world: World) -> None:
    """iSCSI is preferred and refused: its record is undone, and Fibre Channel is taken."""
    world.cable()
    world.add_object_with_two_exports(1, first={"mapped": False}, second={})


def two_files_of_one_share(world: World) -> None:
    for number in (1, 2):
        world.add_file(number)


def a_share_that_names_hosts(world: World) -> None:
    two_files_of_one_share(world)
    world.cdmi.name_hosts(rw_hosts=["10.0.0.9"], root_hosts=["10.0.0.9"])


def a_file_that_is_handed_out_itself(world: World) -> None:
    world.present = Present.FILE
    world.add_file(1)
    world.kernel.add_domain("one-42")


def a_share_that_somebody_mounted(world: World) -> None:
    world.add_file(1)
    options = "rw,nosuid,nodev,noexec,nosymfollow,vers=4.2"
    world.kernel.kernel.shares.add(SHARE.point, SHARE.source, options=options)


def an_export_to_be_made(world: World) -> None:
    """There is none, and the server can make it; it is removed again, with its last user."""
    world.add_object(1, exported=False, offered=True)


def an_fc_export_to_be_made(world: World) -> None:
    world.cable()
    world.add_fc_object(1, exported=False, offered=True)


NFS = [two_files_of_one_share, a_file_that_is_handed_out_itself, a_share_that_names_hosts]
FIBRE = [behind_fibre_channel, a_lun_that_the_kernel_found]
SCENES = [one_lun, two_luns_of_one_target, a_foreign_session, a_domain, two_portals, two_fibres]
SCENES += [
    a_first_protocol_that_fails,
    an_export_to_be_made,
    an_fc_export_to_be_made,
    *FIBRE,
    *NFS,
    a_share_that_somebody_mounted,
]


class Case:
    """One scene, run until a crash at one point, and taken up again."""

    def __init__(self, disk: Path, scene: Scene) -> None:
        disk.mkdir()
        self.world = World(disk)
        scene(self.world)
        self.empty = self.world.kernel.inventory()
        self.permissions = self._permissions()
        self.exported = self._exported()
        self.rebooted = False
        self.places = self._places()

    def _places(self) -> list[tuple[str, int, str]]:
        return [(obj.target, obj.lun, obj.behind) for obj in self.world.cdmi.objects.values()]

    def _exported(self) -> dict[str, bool]:
        return {oid: obj.exported for oid, obj in self.world.cdmi.objects.items()}

    def _permissions(self) -> dict[str, list[str] | None]:
        entries = dict(self.world.cdmi.objects)
        entries |= {f"{oid} instead": obj.instead for oid, obj in entries.items() if obj.instead}
        found = {entry: obj.permissions and list(obj.permissions) for entry, obj in entries.items()}
        return found | {uri: list(nfs_hosts.named(entry) or ()) for uri, entry in self.world.cdmi.pools.items()}

    async def run(self, script: Script, trip: Trip, *, dies: str = "both") -> None:
        """Run a script until it ends, or until the crash that the trip holds."""
        with suppress(Crash, Problem, asyncio.CancelledError):
            async with running(self.world, trip, dies=dies) as daemon:
                await daemon.engine.settled()
                await script(self.world, daemon)

    async def finish(self) -> None:
        """Start again, repeat the request, see that everything is attached and right, and take it down."""
        async with running(self.world) as daemon:
            await daemon.engine.settled()
            for name in sources_of(self.world):
                row = daemon.ledger.rows.get(name)
                if row and row.goal == "gone":
                    await self._take_down(daemon, name)
            await put_all(self.world, daemon)
            await daemon.engine.settled()  # of two paths, the second joins afterwards
            for name, source in sources_of(self.world).items():
                view = daemon.engine.view(name)
                obj = self.world.cdmi.objects[source.rpartition("/")[2]]
                assert view["phase"] == "attached" and view["verified"], view
                assert view["device"]["wwid"] == (obj.wwid if self.world.present is Present.BLOCK else None), view
            for name in sources_of(self.world):
                await self._take_down(daemon, name)
            self.assert_nothing_left(daemon)

    async def undo(self) -> None:
        """Start again, and ask for the opposite at once; whoever has the disk open keeps it until he lets go."""
        async with running(self.world) as daemon:
            used = [
                device for _, device in self.world.kernel.kernel.devices() if "somebody (pid 4711)" in device.holders
            ]
            for device in used:
                with pytest.raises(Problem):
                    await delete_all(self.world, daemon)
                assert self.world.kernel.kernel.device(device.hctl), "taken away under its user"
                self.world.kernel.close_device(device.hctl)
            for name in sources_of(self.world):
                await self._take_down(daemon, name)
            self.assert_nothing_left(daemon)

    async def _take_down(self, daemon: Processes, name: str) -> None:
        """A host that lost its power while it wrote out does not know what became of that, and asks (case 97); so does
        one that has seen another unit where the disk's was."""
        try:
            await daemon.detach(name)
        except Problem as problem:
            in_doubt = self.rebooted or self._places() != self.places
            if not (in_doubt and problem.code is Code.DIRTY):
                raise
            await daemon.detach(name, force=True)

    async def rest(self) -> None:
        """Start again, and ask for nothing."""
        async with running(self.world) as daemon:
            await daemon.engine.settled()
            self.assert_nothing_left(daemon)

    def reboot(self) -> None:
        """The host starts again, and libvirt its domains."""
        self.rebooted = True
        self.world.kernel.reboot()
        for domain in self.world.kernel.kernel.domains.values():
            domain.active = True

    def assert_nothing_left(self, daemon: Processes) -> None:
        left, lost = self.world.kernel.inventory() - self.empty, self.empty - self.world.kernel.inventory()
        assert not left and not lost, f"left: {sorted(left)}; lost: {sorted(lost)}"
        assert self._permissions() == self.permissions
        assert self._exported() == self.exported
        assert not daemon.ledger.rows and not daemon.ledger.grants
        assert not daemon.helper.guarded.created


async def points_of(disk: Path, scene: Scene, script: Script, *, dies: str) -> list[str]:
    """Every point that an undisturbed run passes."""
    case, trip = Case(disk, scene), Trip()
    with suppress(Problem):
        async with running(case.world, trip, dies=dies) as daemon:
            await script(case.world, daemon)
    return trip.points


async def crash_everywhere(
    disk: Path,
    scene: Scene,
    follow_up: str,
    *,
    dies: str,
    script: Script = come_and_go,
    reboot: bool = False,
    **share: int,
) -> None:
    """Run the script up to each point of this way's share in turn, and follow each crash up."""
    points = await points_of(disk / "0", scene, script, dies=dies)
    assert len(points) > 20, points
    for at in share_of(len(points), follow_up, dies=dies, **share):
        case, trip = Case(disk / str(at), scene), Trip(at)
        await case.run(script, trip, dies=dies)
        assert trip.dead, f"point {at} was never reached"
        try:
            if reboot:
                case.reboot()
            await getattr(case, follow_up)()
        except (AssertionError, Problem) as error:
            raise AssertionError(f"after a crash at point {at}, {points[at - 1]}: {error}") from error


@pytest.mark.parametrize("dies", ["both", "daemon"])
@pytest.mark.parametrize("follow_up", ["finish", "undo"])
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
async def test_a_crash_at_every_point(fast_disk: Path, scene: Scene, follow_up: str, dies: str) -> None:
    await crash_everywhere(fast_disk, scene, follow_up, dies=dies, stride=1, shared_by=4)


@pytest.mark.parametrize("follow_up", ["finish", "undo"])
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
async def test_a_death_of_the_helper_at_every_point(fast_disk: Path, scene: Scene, follow_up: str) -> None:
    await crash_everywhere(fast_disk, scene, follow_up, dies="helper", stride=3, shared_by=2)


@pytest.mark.parametrize("follow_up", ["finish", "undo"])
@pytest.mark.parametrize(
    "scene",
    [one_lun, two_luns_of_one_target, a_domain, two_portals, two_fibres, *FIBRE, *NFS],
    ids=lambda scene: scene.__name__,
)
async def test_a_crash_and_a_reboot_at_every_point(fast_disk: Path, scene: Scene, follow_up: str) -> None:
    await crash_everywhere(fast_disk, scene, follow_up, dies="both", stride=3, shared_by=2, reboot=True)


@pytest.mark.parametrize("dies", ["both", "daemon", "helper"])
@pytest.mark.parametrize("script", [a_lun_is_swapped, a_disk_is_in_use], ids=lambda script: script.__name__)
async def test_a_crash_while_something_else_is_wrong(fast_disk: Path, script: Script, dies: str) -> None:
    await crash_everywhere(fast_disk, one_lun, "undo", script=script, dies=dies, stride=1, shared_by=3)


@pytest.mark.parametrize("dies", ["both", "daemon", "helper"])
@pytest.mark.parametrize(
    "script", [a_cable_is_pulled, the_server_is_slow_to_withdraw], ids=lambda script: script.__name__
)
async def test_a_crash_while_the_kernel_brings_luns_back(fast_disk: Path, script: Script, dies: str) -> None:
    """Cases 11 and 12."""
    await crash_everywhere(fast_disk, behind_fibre_channel, "undo", script=script, dies=dies, stride=1, shared_by=3)


@pytest.mark.parametrize("dies", ["both", "daemon", "helper"])
@pytest.mark.parametrize("scene", [one_lun, two_portals, a_foreign_session], ids=lambda scene: scene.__name__)
async def test_a_crash_while_content_is_read(fast_disk: Path, scene: Scene, dies: str) -> None:
    """Nobody asks for its end: it comes with the next start."""
    stride = 1 if scene is one_lun else 3
    await crash_everywhere(fast_disk, scene, "rest", dies=dies, script=a_lun_is_read, stride=stride, shared_by=3)


async def test_a_crash_in_the_recovery_from_a_crash(fast_disk: Path) -> None:
    scene = two_luns_of_one_target
    points = await points_of(fast_disk / "0", scene, come_and_go, dies="both")
    for at in range(1, len(points) + 1, 5):
        for again in range(1, 40, 6):
            case = Case(fast_disk / f"{at}-{again}", scene)
            await case.run(come_and_go, Trip(at))
            await case.run(come_and_go, Trip(again))
            try:
                await case.finish()
            except (AssertionError, Problem) as error:
                raise AssertionError(f"after crashes at points {at} and {again}: {error}") from error
