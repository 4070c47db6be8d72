"""The decisions of the iSCSI attacher as tables: what is seen, what was tried, and the one next thing."""

from dataclasses import replace
from typing import Any

import pytest

from attachers import iscsi, scsi
from attachers.base import Act, Begin, Context, Decision, Fail, Goal, Gone, Keep, Look, Ready, Wait, may_free
from attachers.problems import Code, Problem
from attachers.sights import MapNotes, Record, ScsiPath, ScsiSight, Session
from attachers.steps import (
    DEVICES,
    CreateRecord,
    DeleteRecord,
    JoinMap,
    Login,
    Logout,
    Publish,
    RemoveDevice,
    Scan,
    Step,
    Unpublish,
)

TARGET, PORTAL, OTHER = "iqn.2026-01.org.example:t", "10.0.0.1:3260", "10.0.0.2:3260"
RIGHT, WRONG = "naa.60014050000000000000000000000001", "naa.60014050000000000000000000000002"
EUI = "eui.0123456789abcdef"
HCTL = "3:0:0:1"
PLAN = iscsi.Plan(TARGET, (PORTAL,), 1, RIGHT, 1 << 20)
UNNAMED = replace(PLAN, wwid=None)
TWO = replace(PLAN, portals=(PORTAL, OTHER))
RECORD = Record(TARGET, PORTAL, ours=True)
EMPTY = Session(1, 3, TARGET, PORTAL, "LOGGED_IN", ours=True)
SESSION = replace(EMPTY, devices=(HCTL,))
PATH = ScsiPath(HCTL, PORTAL, "/dev/sda", "running", 1 << 20, False, RIGHT, frozenset({RIGHT}), ours=True)
MADE = ScsiSight((RECORD,), (SESSION,), (PATH,))
LINKED = replace(MADE, link=f"{DEVICES}/{RIGHT}", device_link="/dev/sda")

CREATE, LOGIN, SCAN = CreateRecord(TARGET, PORTAL), Login(TARGET, PORTAL), Scan(HCTL, TARGET, PORTAL)
PUBLISH, UNPUBLISH = Publish("vm", HCTL, RIGHT, False, ""), Unpublish("vm", RIGHT)
FLUSH, REMOVE = RemoveDevice(HCTL, RIGHT), RemoveDevice(HCTL)
LOGOUT, FORGET = Logout(TARGET, PORTAL), DeleteRecord(TARGET, PORTAL)
LUN_KEY, WWID_KEY = f"lun:{TARGET}@{PORTAL}#1", f"wwid:{RIGHT}"
SESSION_KEY, RECORD_KEY = f"session:{TARGET}@{PORTAL}", f"record:{TARGET}@{PORTAL}"
BROKEN = Problem(Code.TARGET_REFUSED, "no")

UNKNOWN = Problem(Code.TARGET_REFUSED, "no such secret", final=True)
SERVER = "https://store.example.org/cdmi/"
SPOILT = Record(TARGET, PORTAL, flaw="it scans")
FAILED, AT_OTHER = replace(EMPTY, state="FAILED"), CreateRecord(TARGET, OTHER)
THEIRS = Session(2, 4, TARGET, PORTAL, "LOGGED_IN")


def seen(sight: ScsiSight = MADE, **path: Any) -> ScsiSight:
    """The sight with its path changed."""
    return replace(sight, paths=tuple(replace(one, **path) for one in sight.paths))


def tried(*done: Step, failed: tuple[Step, ...] = (), unsure: tuple[Step, ...] = (), **more: Any) -> Context:
    """A context in which these steps were taken."""
    done = (*done, *failed, *unsure)
    return Context("vm", done=done, failed=dict.fromkeys(failed, BROKEN), unsure=frozenset(unsure), **more)


def others(*keys: str, **more: Any) -> Context:
    """A context in which others need these."""
    return tried(needed=frozenset(keys), **more)


def short(decision: Decision) -> object:
    """A decision as the tables have it."""
    match decision:
        case Act(step):
            return step
        case Begin(step):
            return ("begin", step)
        case Fail(problem):
            return problem.code
        case Look() | Keep() | Wait() | Ready() | Gone():
            return type(decision)


UNVERIFIED = Context("vm", allow_unverified=True)
BORROWED = seen(sight=replace(MADE, sessions=(replace(SESSION, ours=False),)), ours=False)
ATTACH: dict[str, tuple[iscsi.Plan, ScsiSight, Context, object]] = {
    "nothing there": (PLAN, ScsiSight(), tried(), CREATE),
    "something under way": (PLAN, replace(MADE, busy=("log in",)), tried(), Wait),
    "a record": (PLAN, ScsiSight((RECORD,)), tried(CREATE), LOGIN),
    "the login failed": (PLAN, ScsiSight((RECORD,)), tried(CREATE, failed=(LOGIN,)), Code.TARGET_REFUSED),
    "the login failed, next portal": (TWO, ScsiSight((RECORD,)), tried(failed=(LOGIN,)), CreateRecord(TARGET, OTHER)),
    "the target knows us not": (TWO, ScsiSight((RECORD,)), Context("vm", failed={LOGIN: UNKNOWN}), UNKNOWN.code),
    "with CHAP": (PLAN, ScsiSight(), Context("vm", chap=SERVER), CreateRecord(TARGET, PORTAL, SERVER)),
    "at an interface": (PLAN, ScsiSight((RECORD,)), Context("vm", iface="san"), Login(TARGET, PORTAL, "", "san")),
    "a record of ours that was spoilt": (PLAN, ScsiSight((replace(RECORD, flaw="it scans"),)), tried(), LOGIN),
    "a spoilt record of somebody else": (PLAN, ScsiSight((SPOILT,)), tried(), Code.CONFLICT),
    "a spoilt record, next portal": (TWO, ScsiSight((SPOILT,)), tried(), CreateRecord(TARGET, OTHER)),
    "a session recovers": (PLAN, ScsiSight((RECORD,), (FAILED,)), tried(), Wait),
    "a session recovers, next portal": (TWO, ScsiSight((RECORD,), (FAILED,)), tried(), CreateRecord(TARGET, OTHER)),
    "a session recovers, and no portal is left": (
        TWO,
        ScsiSight((RECORD,), (FAILED,)),
        tried(failed=(AT_OTHER,)),
        Wait,
    ),
    "a session recovers whose disk is in use": (
        TWO,
        replace(MADE, sessions=(replace(SESSION, state="FAILED"),)),
        tried(wwid=RIGHT),
        Wait,
    ),
    "two sessions to one portal": (PLAN, ScsiSight((RECORD,), (THEIRS, EMPTY)), tried(), SCAN),
    "a session": (PLAN, ScsiSight((RECORD,), (EMPTY,)), tried(), SCAN),
    "a scan found nothing": (PLAN, ScsiSight((RECORD,), (EMPTY,)), tried(SCAN), Wait),
    "a scan failed": (PLAN, ScsiSight((RECORD,), (EMPTY,)), tried(failed=(SCAN,)), Code.TARGET_REFUSED),
    "no node yet": (PLAN, seen(node=None), tried(), Wait),
    "no answer": (PLAN, seen(designators=frozenset()), tried(), Wait),
    "too small yet": (PLAN, seen(size=1), tried(), Wait),
    "the right one": (PLAN, MADE, tried(), PUBLISH),
    "the right one, by its other name": (
        PLAN,
        seen(designators=frozenset({RIGHT, EUI}), sysfs_wwid=EUI),
        tried(),
        PUBLISH,
    ),
    "another one": (PLAN, seen(designators=frozenset({WRONG}), sysfs_wwid=WRONG), tried(), REMOVE),
    "another one behind the kernel's back": (PLAN, seen(designators=frozenset({WRONG})), tried(), REMOVE),
    "the right one, but the kernel remembers another": (PLAN, seen(sysfs_wwid=WRONG), tried(), REMOVE),
    "another one, dropped once": (PLAN, seen(designators=frozenset({WRONG})), tried(REMOVE), Code.WRONG_DEVICE),
    "another one, in use": (PLAN, seen(designators=frozenset({WRONG})), tried(failed=(REMOVE,)), Code.WRONG_DEVICE),
    "another one, needed": (PLAN, seen(designators=frozenset({WRONG})), others(LUN_KEY), Code.WRONG_DEVICE),
    "another one, borrowed": (PLAN, seen(BORROWED, designators=frozenset({WRONG})), tried(), Code.WRONG_DEVICE),
    "read-only": (PLAN, seen(read_only=True), tried(), Code.TARGET_REFUSED),
    "read-only, as wanted": (PLAN, seen(read_only=True), tried(read_only=True), replace(PUBLISH, read_only=True)),
    "borrowed, to be read": (PLAN, BORROWED, tried(read_only=True), replace(PUBLISH, read_only=True)),
    "published": (PLAN, LINKED, tried(), Ready),
    "published, another owner": (PLAN, LINKED, tried(owner="a:b"), replace(PUBLISH, owner="a:b")),
    "published, but swapped": (PLAN, seen(LINKED, designators=frozenset({WRONG})), tried(REMOVE), Code.WRONG_DEVICE),
    "published, but silent": (PLAN, seen(LINKED, designators=frozenset()), tried(), Wait),
    "published, the link leads elsewhere": (PLAN, replace(LINKED, device_link="/dev/sdb"), tried(), PUBLISH),
    "publishing failed": (PLAN, MADE, tried(failed=(PUBLISH,)), Code.TARGET_REFUSED),
    "unnamed": (UNNAMED, MADE, tried(), Code.WRONG_DEVICE),
    "unnamed, allowed": (UNNAMED, MADE, UNVERIFIED, PUBLISH),
    "unnamed and silent": (UNNAMED, seen(designators=frozenset()), UNVERIFIED, Code.WRONG_DEVICE),
    "unnamed, the kernel remembers another": (UNNAMED, seen(sysfs_wwid=WRONG), UNVERIFIED, REMOVE),
    "unnamed, handed out before": (UNNAMED, LINKED, replace(UNVERIFIED, wwid=RIGHT), Ready),
    "unnamed, another than before": (UNNAMED, LINKED, replace(UNVERIFIED, wwid=WRONG), REMOVE),
    "unnamed, silent since": (UNNAMED, seen(LINKED, designators=frozenset()), replace(UNVERIFIED, wwid=RIGHT), Wait),
}
LOGGED = ScsiSight((RECORD,), (EMPTY,))
HIGH = replace(PLAN, lun=300)
PLAIN, FLAT = (Scan(f"3:0:0:{number}", TARGET, PORTAL) for number in (300, 16684))
AT_PLAIN, AT_FLAT = (
    seen(replace(MADE, sessions=(replace(EMPTY, devices=(scan.hctl,)),)), hctl=scan.hctl) for scan in (PLAIN, FLAT)
)
IN_VAIN = RemoveDevice(PLAIN.hctl)
ABOVE_255: dict[str, tuple[iscsi.Plan, ScsiSight, Context, object]] = {
    "as it is written": (HIGH, ScsiSight((RECORD,), (EMPTY,)), tried(), PLAIN),
    "then the other form": (HIGH, ScsiSight((RECORD,), (EMPTY,)), tried(PLAIN), FLAT),
    "then in turns": (HIGH, ScsiSight((RECORD,), (EMPTY,)), tried(PLAIN, FLAT), Wait),
    "written as flat": (replace(HIGH, lun=16684), ScsiSight((RECORD,), (EMPTY,)), tried(), FLAT),
    "written as flat, and not": (replace(HIGH, lun=16684), ScsiSight((RECORD,), (EMPTY,)), tried(FLAT), PLAIN),
    "below there is one": (
        replace(PLAN, lun=255),
        ScsiSight((RECORD,), (EMPTY,)),
        tried(),
        Scan("3:0:0:255", TARGET, PORTAL),
    ),
    "below it is not looked for as flat": (PLAN, ScsiSight((RECORD,), (EMPTY,)), tried(SCAN), Wait),
    "another method has no second form": (
        replace(HIGH, lun=0x8001),
        ScsiSight((RECORD,), (EMPTY,)),
        tried(Scan("3:0:0:32769", TARGET, PORTAL)),
        Wait,
    ),
    "there in the plain form": (HIGH, AT_PLAIN, tried(), replace(PUBLISH, hctl=PLAIN.hctl)),
    "there in the flat form": (HIGH, AT_FLAT, tried(PLAIN, FLAT), replace(PUBLISH, hctl=FLAT.hctl)),
    "another unit in the plain form": (HIGH, seen(AT_PLAIN, designators=frozenset({WRONG})), tried(PLAIN), IN_VAIN),
    "that was dropped": (HIGH, ScsiSight((RECORD,), (EMPTY,)), tried(PLAIN, IN_VAIN), FLAT),
    "two paths, the other form": (
        replace(HIGH, multipath=True),
        ScsiSight((RECORD,), (EMPTY,), notes=MapNotes(announced=True, listed=True, ours=True)),
        tried(PLAIN),
        ("begin", FLAT),
    ),
    "two paths, it joins": (
        replace(HIGH, multipath=True),
        replace(AT_FLAT, notes=MapNotes(announced=True, listed=True, ours=True)),
        tried(PLAIN, FLAT),
        JoinMap(FLAT.hctl, RIGHT),
    ),
}


@pytest.mark.parametrize("case", ABOVE_255)
def test_above_255_a_lun_has_two_forms(case: str) -> None:
    """Case 73: LUN 300 of an array with flat space addressing is the kernel's 16684."""
    plan, sight, context, next_ = ABOVE_255[case]
    assert short(iscsi.decide(Goal.ATTACHED, plan.as_json(), replace(sight, owned=(TARGET,)), context)) == next_


def both(plain: str, flat: str, **path: Any) -> ScsiSight:
    """A session that shows a unit at each form of the number; `path` changes that in the flat form."""
    session = replace(EMPTY, devices=(PLAIN.hctl, FLAT.hctl))
    other = replace(PATH, hctl=FLAT.hctl, node="/dev/sdb", sysfs_wwid=flat, designators=frozenset({flat}))
    first = replace(PATH, hctl=PLAIN.hctl, sysfs_wwid=plain, designators=frozenset({plain}))
    return ScsiSight((RECORD,), (session,), (first, replace(other, **path)))


STRANGE = both(RIGHT, WRONG, ours=False)
ONLY_STRANGE = replace(STRANGE, paths=STRANGE.paths[1:], sessions=(replace(EMPTY, devices=(FLAT.hctl,)),))
KEY_PLAIN, KEY_FLAT = (f"lun:{TARGET}@{PORTAL}#{number}" for number in (300, 16684))
TWO_UNITS: dict[str, tuple[Goal, iscsi.Plan, ScsiSight, Context, object]] = {
    "the right one of two": (Goal.ATTACHED, HIGH, both(WRONG, RIGHT), tried(), replace(PUBLISH, hctl=FLAT.hctl)),
    "another's in the other form": (Goal.ATTACHED, HIGH, STRANGE, tried(), replace(PUBLISH, hctl=PLAIN.hctl)),
    "another's in the other form, and ours not there yet": (Goal.ATTACHED, HIGH, ONLY_STRANGE, tried(), PLAIN),
    "then it is waited for": (Goal.ATTACHED, HIGH, ONLY_STRANGE, tried(PLAIN), Wait),
    "a silent one in the other form": (
        Goal.ATTACHED,
        HIGH,
        replace(ONLY_STRANGE, paths=(replace(ONLY_STRANGE.paths[0], designators=frozenset(), sysfs_wwid=None),)),
        tried(),
        PLAIN,
    ),
    "by several paths": (
        Goal.ATTACHED,
        replace(HIGH, multipath=True),
        replace(ONLY_STRANGE, notes=MapNotes(announced=True, listed=True, ours=True)),
        tried(),
        ("begin", PLAIN),
    ),
    "unnamed: as it is written, or not at all": (
        Goal.ATTACHED,
        replace(HIGH, wwid=None),
        ScsiSight((RECORD,), (EMPTY,)),
        replace(UNVERIFIED, done=(PLAIN,)),
        Wait,
    ),
    "unnamed, another's in the other form": (Goal.ATTACHED, replace(HIGH, wwid=None), ONLY_STRANGE, UNVERIFIED, PLAIN),
    "one form was refused": (Goal.ATTACHED, HIGH, LOGGED, tried(failed=(PLAIN,)), FLAT),
    "both were refused": (Goal.ATTACHED, HIGH, LOGGED, tried(failed=(PLAIN, FLAT)), Code.TARGET_REFUSED),
    "handed out, and silent": (
        Goal.ATTACHED,
        HIGH,
        replace(
            both(RIGHT, RIGHT),
            paths=(replace(AT_PLAIN.paths[0], designators=frozenset()), both(RIGHT, RIGHT).paths[1]),
            link=f"{DEVICES}/{RIGHT}",
            device_link="/dev/sda",
        ),
        tried(wwid=RIGHT),
        Wait,
    ),
    "detach: found in the other form": (Goal.GONE, HIGH, AT_FLAT, tried(), RemoveDevice(FLAT.hctl, RIGHT)),
    "detach: another of our attachments has it, too": (
        Goal.GONE,
        HIGH,
        AT_FLAT,
        others(KEY_PLAIN, WWID_KEY, SESSION_KEY, RECORD_KEY),
        Gone,
    ),
    "detach: another of our attachments has the other form": (
        Goal.GONE,
        HIGH,
        both(RIGHT, WRONG),
        others(KEY_FLAT, f"wwid:{WRONG}", SESSION_KEY, RECORD_KEY),
        RemoveDevice(PLAIN.hctl, RIGHT),
    ),
    "detach: and it stays": (
        Goal.GONE,
        HIGH,
        AT_FLAT,
        others(KEY_FLAT, f"wwid:{WRONG}", SESSION_KEY, RECORD_KEY),
        Gone,
    ),
    "detach: somebody else's in the other form": (Goal.GONE, HIGH, ONLY_STRANGE, tried(), Gone),
}


@pytest.mark.parametrize("case", TWO_UNITS)
def test_another_unit_in_the_other_form_is_nobodys_business(case: str) -> None:
    """Case 73: LIO tells LUN 300 from 16684, and so may others; which one is ours is for the INQUIRY to say."""
    goal, plan, sight, context, next_ = TWO_UNITS[case]
    assert short(iscsi.decide(goal, plan.as_json(), replace(sight, owned=(TARGET,)), context)) == next_


def test_why_a_form_was_refused_is_told_with_what_is_awaited() -> None:
    waiting = iscsi.decide(
        Goal.ATTACHED, HIGH.as_json(), replace(LOGGED, owned=(TARGET,)), tried(FLAT, failed=(PLAIN,))
    )
    assert isinstance(waiting, Wait) and waiting.again == FLAT and BROKEN.detail in waiting.problem.detail


SILENT = seen(designators=frozenset())
LOGGED_IN = ScsiSight((RECORD,), (EMPTY,))
DETACH: dict[str, tuple[iscsi.Plan, ScsiSight, Context, object]] = {
    "nothing there": (PLAN, ScsiSight(), tried(), Gone),
    "something under way": (PLAN, replace(LINKED, busy=("flush",)), tried(), Wait),
    "published": (PLAN, LINKED, tried(), Look),
    "published, needed": (PLAN, LINKED, others(WWID_KEY, LUN_KEY), Unpublish("vm", None)),
    "published, that failed": (PLAN, replace(LINKED, users=()), tried(failed=(UNPUBLISH,)), Code.TARGET_REFUSED),
    "a disk": (PLAN, MADE, tried(), FLUSH),
    "a silent disk, never handed out": (PLAN, SILENT, tried(), REMOVE),
    "perhaps flushed and removed": (PLAN, MADE, tried(unsure=(FLUSH,)), FLUSH),
    "not to be flushed": (PLAN, MADE, tried(failed=(FLUSH,)), Code.TARGET_REFUSED),
    "not to be flushed, silent since": (PLAN, SILENT, tried(failed=(FLUSH,)), Code.TARGET_REFUSED),
    "perhaps flushed, silent since": (PLAN, SILENT, tried(unsure=(FLUSH,)), Code.DIRTY),
    "not to be flushed, another volume since": (
        PLAN,
        seen(designators=frozenset({WRONG})),
        tried(failed=(FLUSH,)),
        REMOVE,
    ),
    "another volume": (PLAN, seen(designators=frozenset({WRONG})), tried(), REMOVE),
    "the kernel remembers another volume": (PLAN, seen(sysfs_wwid=WRONG), tried(), REMOVE),
    "removed, not gone": (PLAN, MADE, tried(FLUSH), Wait),
    "silent and removed, not gone": (PLAN, SILENT, tried(REMOVE), Wait),
    "silent, not to be removed": (PLAN, SILENT, tried(failed=(REMOVE,)), Code.TARGET_REFUSED),
    "needed": (PLAN, MADE, others(WWID_KEY, LUN_KEY, SESSION_KEY, RECORD_KEY), Gone),
    "the session is needed": (PLAN, LOGGED_IN, others(SESSION_KEY, RECORD_KEY), Gone),
    "a session": (PLAN, LOGGED_IN, tried(), LOGOUT),
    "a session with another's disk": (
        PLAN,
        ScsiSight((RECORD,), (replace(EMPTY, devices=("3:0:0:9",)),)),
        tried(),
        Gone,
    ),
    "two sessions to one portal": (PLAN, ScsiSight((RECORD,), (THEIRS, EMPTY)), tried(), LOGOUT),
    "somebody's session": (PLAN, ScsiSight((), (replace(EMPTY, ours=False),)), tried(), Gone),
    "somebody's record": (PLAN, ScsiSight((replace(RECORD, ours=False),)), tried(), Gone),
    "a record": (PLAN, ScsiSight((RECORD,)), tried(), FORGET),
    "a record of which somebody's session is": (
        PLAN,
        ScsiSight((RECORD,), (replace(EMPTY, ours=False),)),
        tried(),
        Gone,
    ),
    "unnamed": (UNNAMED, MADE, tried(), FLUSH),
    "unnamed, another than was handed out": (UNNAMED, MADE, tried(wwid=WRONG), REMOVE),
}


@pytest.mark.parametrize("case", ATTACH)
def test_attach(case: str) -> None:
    plan, sight, context, next_ = ATTACH[case]
    assert short(iscsi.decide(Goal.ATTACHED, plan.as_json(), replace(sight, owned=(TARGET,)), context)) == next_


@pytest.mark.parametrize("case", DETACH)
def test_detach(case: str) -> None:
    plan, sight, context, next_ = DETACH[case]
    assert short(iscsi.decide(Goal.GONE, plan.as_json(), sight, context)) == next_


@pytest.mark.parametrize(
    ("sight", "context", "restore"),
    [
        (MADE, tried(UNPUBLISH, failed=(FLUSH,)), PUBLISH),
        (MADE, tried(unsure=(UNPUBLISH,), failed=(FLUSH,)), PUBLISH),
        (MADE, tried(failed=(FLUSH,)), None),
        (seen(designators=frozenset({WRONG})), tried(UNPUBLISH, failed=(REMOVE,)), None),
        (SILENT, tried(UNPUBLISH, failed=(REMOVE,)), None),
    ],
)
def test_a_refused_detach_puts_the_link_back_where_it_was_taken(
    sight: ScsiSight, context: Context, restore: Step | None
) -> None:
    decision = iscsi.decide(Goal.GONE, PLAN.as_json(), sight, context)
    assert isinstance(decision, Fail) and decision.restore == restore


@pytest.mark.parametrize(
    ("answers", "remembered", "right", "wrong"),
    [
        (set(), None, False, False),
        (set(), RIGHT, False, False),
        (set(), WRONG, False, False),
        ({RIGHT}, None, True, False),
        ({RIGHT}, RIGHT, True, False),
        ({RIGHT}, WRONG, False, True),
        ({RIGHT, EUI}, EUI, True, False),
        ({RIGHT, EUI}, WRONG, False, True),
        ({WRONG}, None, False, True),
        ({WRONG}, RIGHT, False, True),
        ({WRONG}, WRONG, False, True),
        ({WRONG, EUI}, EUI, False, True),
    ],
)
def test_right_and_wrong(answers: set[str], remembered: str | None, right: bool, wrong: bool) -> None:
    path = replace(PATH, designators=frozenset(answers), sysfs_wwid=remembered)
    assert (scsi.is_right(path, RIGHT), scsi.is_wrong(path, RIGHT)) == (right, wrong)


@pytest.mark.parametrize("mine", [True, False])
@pytest.mark.parametrize("created", [True, False])
@pytest.mark.parametrize("needed", [True, False])
def test_only_what_is_mine_and_made_and_needed_by_nobody_is_freed(mine: bool, created: bool, needed: bool) -> None:
    sets = [frozenset({"it", "x"} if there else {"x"}) for there in (mine, created)]
    freed = may_free(sets[0], sets[1], frozenset({"x", "it"} if needed else {"x"}))
    assert freed == (frozenset({"it"}) if mine and created and not needed else frozenset())
