"""The contract between the engine, the protocols and the host: what is wanted, what is seen, what is next."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from attachers.problems import Code, Problem
from attachers.sights import Query, Sight
from attachers.steps import Step


class Goal(StrEnum):
    """Where an attachment is to end: usable on this host, or gone from it without a trace."""

    ATTACHED = "attached"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class PathInfo:
    """One way to the device, as the API shows it."""

    node: str
    hctl: str
    via: str
    state: str


@dataclass(frozen=True, slots=True)
class Device:
    """What is handed out: `path` is stable, `node` is the kernel's name of the moment, `size` is in bytes."""

    kind: str
    path: str
    node: str
    wwid: str | None
    size: int
    read_only: bool
    paths: tuple[PathInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class Act:
    """Take this step, then look again."""

    step: Step


@dataclass(frozen=True, slots=True)
class Begin:
    """Begin this step, and look again without waiting for its end: it may take long, and other things can be done."""

    step: Step


@dataclass(frozen=True, slots=True)
class Look:
    """The sight does not tell enough: look once more, with this (dearer) query, before anything changes."""

    query: Query


@dataclass(frozen=True, slots=True)
class Keep:
    """What was seen has to hold from now on: add these values to the plan, durably, before anything else is done."""

    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until the host changes: `reason` says what is awaited, `problem` what it is when time runs out.

    `again` is a step that was taken already and is worth another try after the wait. `let_in`: it may come to nothing
    before the server lets this host in.
    """

    reason: str
    problem: Problem
    again: Step | None = None
    let_in: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """The goal is reached: this device is verified, published, and may be used.

    `missing` says what of it is not there yet (a path), None when all is. `note` is what a caller should know of it.
    """

    device: Device
    verified: bool
    missing: Problem | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Gone:
    """The goal is reached: nothing that we may free is left on the host."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The goal cannot be reached. `restore` is the step that puts back what was taken away on the way here."""

    problem: Problem
    restore: Step | None = None


Decision = Act | Begin | Look | Keep | Wait | Ready | Gone | Fail


@dataclass(frozen=True, slots=True)
class Context:
    """What the host cannot tell: the wish itself, and what has been tried for it.

    `needed` are the resource keys that other attachments need (see `Attacher.needs`), `done` the steps that this
    attempt has begun, `failed` those that it took in vain, with their problems, `unsure` those of which nobody knows
    whether they were done, `under_way` those that were begun and have not ended. `min_paths` is how many paths are
    enough to be ready, `whole` that all of them are wanted. `wwid` is the logical unit that was handed out before, if
    any. `owner` is the configured owner of device nodes, `allow_unverified` whether an export without a logical unit
    name may be used, `trust_local` whether a locally assigned name (NAA 3) is proof. `withdrawn` says that the server
    has taken back what it permitted for us: nothing of it can return. `chap` names the server whose CHAP entry logs in,
    `iface` the interface of open-iscsi; both may be empty. `grow`: the size has to be read again on every path, and to
    be at least so many bytes; None: it need not. `used`: it may have been written to on this host, so that nothing of
    it goes before its cache was written out. `force`: on the way out, the loss of what cannot be written out is known.
    `former`: what is decided on is a plan that was given up; the attachment's link leads elsewhere by now.
    """

    name: str
    read_only: bool = False
    needed: Container[str] = frozenset()
    done: tuple[Step, ...] = ()
    failed: Mapping[Step, Problem] = field(default_factory=dict)
    unsure: frozenset[Step] = frozenset()
    under_way: frozenset[Step] = frozenset()
    min_paths: int = 1
    whole: bool = False
    wwid: str | None = None
    owner: str = ""
    allow_unverified: bool = False
    trust_local: bool = False
    withdrawn: bool = False
    chap: str = ""
    iface: str = ""
    grow: int | None = None
    stood: bool = False
    used: bool = False
    force: bool = False
    former: bool = False

    @property
    def may_lose(self) -> bool:
        """Whether what could not be written out is no reason to stop: that is known, or there can be nothing."""
        return self.force or not self.used

    def could_not_write_out(self, step: Step) -> bool:
        """Whether the step was refused because of what is cached: not because of a user, or of what it is."""
        problem = self.failed.get(step)
        return problem is not None and problem.code in (Code.DIRTY, Code.TARGET_TIMEOUT)


class Attacher(Protocol):
    """One protocol: pure functions over its own plan (what the export says, as plain JSON values)."""

    @property
    def protocol(self) -> str:
        """The protocol's name in the API: iscsi, fc, nfs."""
        ...

    @property
    def comes_back(self) -> bool:
        """Whether the host may bring back by itself what was removed, for as long as the server shows it.

        Then a detach looks once more, and removes what has returned, after the permission was withdrawn.
        """
        ...

    @property
    def asks_again(self) -> bool:
        """Whether what lies at the place of the plan has no name of its own: then the CDMI server has to say once more
        that it is the object, before it is made or handed out anew (after a reboot, say).
        """
        ...

    def query(self, name: str, plan: Mapping[str, Any], *, goal: Goal) -> Query:
        """What to look at for this plan."""
        ...

    def needs(self, plan: Mapping[str, Any]) -> frozenset[str]:
        """The keys of every shared resource that the plan uses; they are its locks as well."""
        ...

    def decide(self, goal: Goal, plan: Mapping[str, Any], sight: Sight, context: Context) -> Decision:
        """The one next thing. Pure: the same arguments give the same answer."""
        ...


class Host(Protocol):
    """The seam: the only way to look at a host, to change it, and to wait for it.

    Implemented by the real kernel (`linux`), by a model of it (`simulated`), by the record of what was created that
    stands before either (`guarded`), and by the socket to the helper (`remote`). The same contract tests hold for all.
    """

    async def observe(self, query: Query) -> Sight:
        """Look, changing nothing. Raises `Problem` (`unavailable`) when the host cannot be asked."""
        ...

    async def act(self, step: Step, *, timeout_s: float, then: Query | None = None) -> Sight | None:
        """Take one step; with `then`, answer what that query shows right after it.

        Raises `Problem`: `in-use`, `wrong-device`, `target-refused`, ... when the step was refused or failed for sure;
        `Uncertain` when `timeout_s` ran out first: the step may still take effect.
        """
        ...

    @property
    def changes(self) -> int:
        """A number that grows whenever the host may have changed. Read it before `observe`, wait with it after."""
        ...

    @property
    def alarms(self) -> int:
        """A number that grows, with `changes`, whenever something has gone that an attachment may use, or a target has
        said that what it shows is not what it was.
        """
        ...

    async def changed(self, since: int, *, timeout_s: float) -> None:
        """Return when `changes` is above `since`, or after `timeout_s`: a hint to look again, not a promise."""
        ...

    def now(self) -> float:
        """Monotonic seconds, by this host's clock."""
        ...

    async def close(self) -> None:
        """Let go of everything that this process holds; the host stays as it is."""
        ...


class Uncertain(Exception):
    """Time ran out on a step: whether it took effect is not known until the host is observed again."""

    def __init__(self, step: str) -> None:
        super().__init__(f"time ran out: {step}")
        self.step = step


class MadeByAnotherError(Exception):
    """What a step was to make is there, but somebody else made it at that moment: it is borrowed, and not ours."""


def may_free(mine: frozenset[str], created: frozenset[str], others: Container[str]) -> frozenset[str]:
    """Design rule 4: of what I need, only what we created and nobody else needs may be torn down."""
    return frozenset(key for key in mine & created if key not in others)
