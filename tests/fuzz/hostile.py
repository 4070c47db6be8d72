"""A daemon that was taken over: whatever it says to the real helper's server, and in whatever order.

Behind the server are the guard and its record, and a model of a kernel on which others have things (`foreign`). After
each message that model is looked at from its own side.
"""

import asyncio
import os
import random
import socket
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from agent import wire
from agent.helper.server import HelperServer
from agent.host.confined import ConfinedHost
from agent.host.created import Kind, open_created
from agent.host.guarded import GuardedHost
from agent.host.simulated_faults import Moment
from agent.listening import listen
from agent.store import MEMORY
from attachers import steps
from attachers.nfs_share import Share
from attachers.sights import BlocksQuery, DomainQuery, FcQuery, HostQuery, IscsiQuery, NfsQuery, Query, RecordQuery
from attachers.steps import CreateRecord, GiveDisk, Login, Mount, Step
from tests.fuzz import foreign
from tests.fuzz.foreign import ABROAD, ARRAY, CHAP, LOCAL, ONE, OPEN, OTHER, STRANGE, TWO, Scene, wwid_of
from tests.fuzz.grow import Source

MOST = 200
"""Messages to one helper: then all begins anew."""
AT_ONCE = 12
NAMES = ("vm", "other", "theirs")
LUNS = (1, 2, 3, 4, 5, 6, 7, 8)
Plot = list[Callable[[], Step | Query]]


class Dice:
    """Decisions from bytes and, when they are used up, from chance that these bytes have sown."""

    def __init__(self, data: bytes) -> None:
        self._left = list(reversed(data))
        self._chance = random.Random(data)

    def pick(self, count: int) -> int:
        """A number below `count`."""
        return self._left.pop() % count if self._left else self._chance.randrange(count)

    def of(self, *choices: Any) -> Any:
        """One of these."""
        return choices[self.pick(len(choices))]

    def word(self, *choices: str) -> str:
        """One of these texts."""
        return choices[self.pick(len(choices))]

    def bytes(self, count: int) -> bytes:
        """Any bytes."""
        return bytes(self.pick(256) for _ in range(count))


class Daemon:
    """What it says: mostly well formed, mostly with names that mean something here, some of it a whole plot."""

    def __init__(self, dice: Dice, scene: Scene) -> None:
        self._dice = dice
        self._scene = scene
        self._plot: Plot = []

    @property
    def patience(self) -> int:
        """How many messages it sends at once: in a plot, each waits for the one before."""
        return 1 if self._plot and self._dice.pick(4) else 1 + self._dice.pick(AT_ONCE)

    def message(self, number: int) -> bytes:
        """The next one, as it goes onto the wire."""
        dice = self._dice
        if dice.pick(64) == 0:
            return dice.bytes(4) + dice.bytes(dice.pick(40)) if dice.pick(8) == 0 else self._frame(dice.bytes(9))
        said = self._next()
        verb = "act" if type(said) in steps.STEPS else "observe"
        value: Any = wire.encode(said)
        if dice.pick(12) == 0:
            value = Source(dice.bytes(24)).changed(value)
        if verb == "act":
            value = {"step": value, "then": wire.encode(self._query()) if dice.pick(4) == 0 else None}
        asked = {"id": number, "verb": verb, "value": value, "timeout_s": 5, "attachment": dice.of("", "vm")}
        if dice.pick(40) == 0:
            asked = Source(dice.bytes(24)).changed(asked)
        return wire.pack(asked)

    def _frame(self, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + body

    def _next(self) -> Step | Query:
        if not self._plot and self._dice.pick(3) == 0:
            self._plot = self._dice.of(self._iscsi, self._fibre, self._file, self._map)()
        if self._plot and self._dice.pick(8):
            return self._plot.pop(0)()
        return self._query() if self._dice.pick(4) == 0 else self._step()

    # Names.

    def _portal(self) -> str:
        return self._dice.word(ONE, ONE, TWO, OTHER, ABROAD, "10.1.0.9:3260", "127.0.0.1:3260", "[fd00::1]:3260")

    def _hctl(self) -> str:
        there = [device.hctl for _, device in self._scene.kernel.devices()]
        return self._dice.word(*there, f"{self._dice.pick(12)}:0:0:{self._dice.of(*LUNS)}")

    def _wwid(self) -> str:
        return self._dice.word(*foreign.WWIDS)

    def _share(self) -> Share:
        shares = (*foreign.SHARES, Share("127.0.0.1", "/", "4"))
        return shares[self._dice.pick(len(shares))]

    def _target(self) -> str:
        return self._dice.word(*foreign.TARGETS)

    # Whole plots: what an honest daemon would do, with anybody's things.

    def _iscsi(self) -> Plot:
        unit, name, chap = self._unit(), self._name(), self._dice.word("", "", CHAP, OPEN)
        target, portal, lun, wwid = unit
        return [
            lambda: CreateRecord(target, portal, chap),
            lambda: Login(target, portal, chap),
            lambda: steps.Scan(f"{self._host_of(target, portal)}:0:0:{lun}", target, portal),
            lambda: IscsiQuery(name, target, (portal,), lun, wwid),
            *self._hand_out(name, wwid),
            lambda: steps.Logout(target, portal),
            lambda: steps.DeleteRecord(target, portal),
        ]

    def _unit(self) -> tuple[str, str, int, str]:
        """Target, portal, LUN and name of a unit; sometimes one of these is another's."""
        one, two = self._dice.of(*foreign.UNITS), self._dice.of(*foreign.UNITS)
        odd = self._dice.pick(16)
        target, portal, lun, wwid = (two[at] if at == odd else one[at] for at in range(4))
        return target, portal, lun, wwid

    def _host_of(self, target: str, portal: str) -> int:
        """The number that the session has."""
        session = self._scene.kernel.session(target, portal)
        return session.host if session else self._dice.pick(14)

    def _fibre(self) -> Plot:
        (target, wwid), lun, name = self._dice.of(*foreign.FIBRE), self._dice.of(4, 4, 4, 9), self._name()
        look = FcQuery(name, (target,), lun, wwid)
        own, disown = steps.Own((target,), lun), steps.Disown((target,), lun)
        return [lambda: own, lambda: look, *self._hand_out(name, wwid), lambda: disown]

    def _file(self) -> Plot:
        share, path, name = self._share(), self._dice.word(*foreign.FILES), self._name()
        wwid = wwid_of(self._dice.of(11, 12, foreign.THEIR_FILE))
        mount, unmount, look = Mount(share, "soft"), steps.Unmount(share), NfsQuery(name, share, path, wwid)
        if self._dice.pick(2):
            publish, give, back = (
                steps.PublishFile(name, share, path),
                self._give(name, "file"),
                steps.Unpublish(name, None),
            )
            return [lambda: mount, lambda: publish, lambda: give, lambda: back, lambda: unmount]
        make, remove = steps.MakeDisk(share, path, wwid, foreign.SIZE), steps.RemoveDisk(share, wwid)
        before: Plot = [lambda: mount, lambda: look, lambda: make, lambda: look]
        return [*before, *self._hand_out(name, wwid), lambda: remove, lambda: unmount]

    def _map(self) -> Plot:
        unit, name, owner = self._unit(), self._name(), self._owner()
        target, portal, lun, wwid = unit
        look = IscsiQuery(name, target, (portal,), lun, wwid)
        return [
            lambda: look,
            lambda: steps.AnnounceMap(wwid, owner),
            lambda: steps.JoinMap(self._at(wwid), wwid),
            lambda: look,
            *self._hand_out(name, wwid, above=True),
            lambda: steps.LeaveMap(self._at(wwid), wwid),
            lambda: steps.RemoveMap(wwid),
            lambda: steps.ForgetMap(wwid),
        ]

    def _at(self, wwid: str) -> str:
        """Where the kernel has a unit of that name; sometimes anywhere."""
        there = [device.hctl for _, device in self._scene.kernel.devices() if device.wwid == wwid]
        return self._dice.word(*there) if there and self._dice.pick(8) else self._hctl()

    def _hand_out(self, name: str, wwid: str, *, above: bool = False) -> Plot:
        read_only, owner, give = bool(self._dice.pick(2)), self._owner(), self._give(name, "block")
        plot: Plot = [
            lambda: steps.Publish(name, "" if above else self._at(wwid), wwid, read_only, owner),
            lambda: give,
            lambda: self._blocks(wwid),
        ]
        back: Plot = [
            lambda: steps.TakeDisk(name, give.domain, give.target),
            lambda: steps.Unpublish(name, wwid),
            lambda: steps.RemoveDevice(self._at(wwid), wwid),
        ]
        return [*plot, *back] if self._dice.pick(2) else plot

    def _give(self, name: str, kind: str) -> GiveDisk:
        target, domain = self._dice.of("sda", "sdb", "vda"), self._dice.of("web", "free", "idle", "none")
        return GiveDisk(name, domain, target, "scsi", bool(self._dice.pick(2)), kind)

    def _blocks(self, wwid: str) -> BlocksQuery:
        return BlocksQuery(wwid, 0, 4096, self._dice.of(os.getpid(), 1), 0, 0)

    def _name(self) -> str:
        return self._dice.word(*NAMES)

    def _owner(self) -> str:
        return self._dice.word(*[foreign.OWNER] * 6, "", "mallory:disk")

    # Single ones.

    def _query(self) -> Query:
        wwid = self._dice.of(None, self._wwid())
        match self._dice.pick(8):
            case 0:
                return FcQuery(self._name(), (self._dice.of(ARRAY, STRANGE),), 4, wwid, bool(self._dice.pick(2)))
            case 1:
                return NfsQuery(self._name(), self._share(), self._dice.of(*foreign.FILES), wwid)
            case 2:
                return DomainQuery(self._dice.of("web", "free", "none"))
            case 3:
                return self._blocks(self._wwid())
            case 4:
                return HostQuery(self._dice.of("", "default", "x"))
            case 5:
                return RecordQuery()
        return IscsiQuery(self._name(), self._target(), (self._portal(), self._portal()), self._dice.of(*LUNS), wwid)

    def _step(self) -> Step:
        dice, name, wwid, hctl = self._dice, self._name(), self._wwid(), self._hctl()
        target, portal, share, path = self._target(), self._portal(), self._share(), dice.of(*foreign.FILES)
        chap, iface = dice.of("", CHAP, OPEN, "https://c.example.org/"), dice.of("", "", "", "x")
        ports = ((ARRAY,), (STRANGE,), (ARRAY, STRANGE))
        makers: tuple[Callable[[], Step], ...] = (
            lambda: CreateRecord(target, portal, chap, iface),
            lambda: Login(target, portal, chap, iface),
            lambda: steps.Scan(hctl, target, portal),
            lambda: steps.Scan(hctl, dice.of(ARRAY, STRANGE), LOCAL),
            lambda: steps.Publish(name, dice.of(hctl, hctl, ""), wwid, bool(dice.pick(2)), self._owner()),
            lambda: steps.Unpublish(name, dice.of(wwid, None)),
            lambda: steps.RemoveDevice(hctl, dice.of(wwid, None)),
            lambda: steps.Own(dice.of(*ports), dice.of(*LUNS)),
            lambda: steps.Disown(dice.of(*ports), dice.of(*LUNS)),
            lambda: steps.AnnounceMap(wwid, self._owner(), bool(dice.pick(2))),
            lambda: dice.of(steps.JoinMap, steps.LeaveMap, steps.Rescan)(hctl, wwid),
            lambda: steps.ResizeMap(wwid, dice.of(1, foreign.SIZE, 1 << 40)),
            lambda: dice.of(steps.RemoveMap, steps.ForgetMap)(wwid, bool(dice.pick(2))),
            lambda: steps.Logout(target, portal, dice.of(None, 1, 2, 3)),
            lambda: steps.DeleteRecord(target, portal),
            lambda: Mount(share, dice.of("", "soft", "sec=krb5,port=1"), bool(dice.pick(2))),
            lambda: steps.Unmount(share),
            lambda: dice.of(steps.MakeDisk, steps.GrowDisk)(share, path, wwid, dice.of(512, foreign.SIZE)),
            lambda: steps.RemoveDisk(share, wwid),
            lambda: steps.WriteOutFile(share, path, wwid, lost=bool(self._dice.pick(2))),
            lambda: steps.PublishFile(name, share, path),
            lambda: self._give(name, dice.of("block", "file")),
            lambda: steps.ResizeDisk(name, dice.of("web", "free"), "sda", 4096),
            lambda: steps.TakeDisk(name, dice.of("web", "free"), dice.of("sda", "sdb")),
        )
        return makers[dice.pick(len(makers))]()


class Watched:
    """What reaches the kernel behind the guard: the oracle of what leaves no trace there. `flaws` says what it saw."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.flaws: list[str] = []

    async def __call__(self, moment: Moment, what: Step | Query) -> None:
        if moment is Moment.BEFORE and not self._is_right(what):
            self.flaws.append(f"{what} was done")

    def _is_right(self, what: Step | Query) -> bool:
        kernel = self._scene.kernel
        match what:
            case CreateRecord(_, portal, chap) | Login(_, portal, chap):
                near = portal.startswith("10.1.0.")
                return portal.startswith("10.") and (not chap or (chap == CHAP and near))
            case Mount(share, options, downgrade):
                return share.server == "10.1.0.5" and options == "hard,noatime" and not downgrade
            case BlocksQuery(wwid=wwid):
                return any(to.endswith(wwid) for name, to in kernel.links.items() if name != "theirs")
            case GiveDisk(name=name, read_only=read_only):
                device = foreign.given(kernel, name)
                used = device is not None and foreign.ADMIN in device.holders
                return name != "theirs" and name in kernel.links and (read_only or not used)
        return True


class Hostile:
    """A helper's server on a socket, and that daemon; `messages` counts what was said to it."""

    def __init__(self) -> None:
        self.messages = 0
        self._loop = asyncio.new_event_loop()
        self._place = tempfile.TemporaryDirectory()

    def run(self, data: bytes) -> int:
        """Say something to a new helper, until it has been enough; how often. Raises where anything went wrong."""
        before = self.messages
        self._loop.run_until_complete(self._run(Dice(data)))
        return self.messages - before

    def close(self) -> None:
        """End it."""
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
        self._place.cleanup()

    async def _run(self, dice: Dice) -> None:
        scene = foreign.scene()
        scene.raw.hook = watched = Watched(scene)
        created = open_created(MEMORY, inline=True)
        path = Path(self._place.name, f"{self.messages}.sock")
        host = ConfinedHost(GuardedHost(scene.raw, created), lambda: foreign.ALLOWED)
        await host.recover()
        server = HelperServer(host, uids=frozenset({os.getuid()}))
        await server.start(listen(path, mode=0o600, uid=None))
        try:
            await self._talk(Daemon(dice, scene), path, lambda: self._check(scene, watched, host))
        finally:
            await server.stop(limit_s=5)
            await asyncio.sleep(0)  # its ends of the connections are let go of
            await host.close()

    async def _talk(self, daemon: Daemon, path: Path, check: Callable[[], None]) -> None:
        said = 0
        while said < MOST:
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(str(path))
            reader, writer = await asyncio.open_unix_connection(sock=sock)
            try:
                said += await self._say(daemon, reader, writer, MOST - said, check)
            finally:
                await _hang_up(writer)

    async def _say(
        self,
        daemon: Daemon,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        most: int,
        check: Callable[[], None],
    ) -> int:
        """Speak on one connection, until it has been enough or nobody listens any more; how often."""
        said, listens = 0, True
        while listens and said < most:
            at_once = daemon.patience
            for _ in range(at_once):
                said += 1
                self.messages += 1
                writer.write(daemon.message(said))
            listens = await self._hear(reader, at_once)
            check()
        return said

    async def _hear(self, reader: asyncio.StreamReader, count: int) -> bool:
        """Every answer; whether it still listens. What it says of itself is that it has no defect."""
        async with asyncio.timeout(20):
            while count:
                try:
                    answer = await wire.read_frame(reader)
                except OSError:
                    return False
                if answer is None:
                    return False
                if "changes" in answer:
                    continue
                assert answer.get("problem", {}).get("code") != "internal", answer
                count -= 1
                if answer["id"] is None:
                    return False
        return True

    def _check(self, scene: Scene, watched: Watched, host: ConfinedHost) -> None:
        scene.kernel.probe()
        assert not watched.flaws, watched.flaws
        assert not (flaw := scene.flaw()), flaw
        strange = [thing for thing in host.created if thing.kind is Kind.OWNED and thing.target == STRANGE]
        assert not strange, strange


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
