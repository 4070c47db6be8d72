"""The decisions of the Fibre Channel attacher as tables: what is seen, what was tried, and the one next thing."""

from dataclasses import replace
from typing import Any

import pytest

from attachers import fc
from attachers.base import Act, Begin, Context, Decision, Fail, Goal, Gone, Keep, Look, Ready, Wait
from attachers.problems import Code, Problem
from attachers.sights import LOGGED_IN, FcPort, ScsiPath, ScsiSight, Session
from attachers.steps import DEVICES, Disown, Own, Publish, RemoveDevice, Scan, Step, Unpublish

LOCAL, LOCAL_2 = "2000020000000010", "2000020000000012"
REMOTE, REMOTE_2 = "2000020000000011", "2000020000000013"
RIGHT, WRONG = "naa.60014050000000000000000000000001", "naa.60014050000000000000000000000002"
PLAN = fc.Plan((REMOTE,), 1, RIGHT, 1 << 20)
TWO = replace(PLAN, targets=(REMOTE, REMOTE_2))
PORT = FcPort(LOCAL, 7, "Online", ("20:00:02:00:00:00:00:11 Online (FCP Target)",))
EMPTY = Session(0, 7, REMOTE, LOCAL, LOGGED_IN, target_id=2)
EMPTY_2 = Session(0, 8, REMOTE_2, LOCAL_2, LOGGED_IN)
NEXUS, NEXUS_2 = replace(EMPTY, devices=("7:0:2:1",)), replace(EMPTY_2, devices=("8:0:0:1",))
PATH = ScsiPath("7:0:2:1", EMPTY.via, "/dev/sda", "running", 1 << 20, False, RIGHT, frozenset({RIGHT}), ours=True)
PATH_2 = replace(PATH, hctl="8:0:0:1", via=EMPTY_2.via, node="/dev/sdb")
SEEN = ScsiSight(sessions=(EMPTY,), ports=(PORT,))
EXPECTED = replace(SEEN, owned=(REMOTE,))
MADE = replace(EXPECTED, sessions=(NEXUS,), paths=(PATH,))
LINKED = replace(MADE, link=f"{DEVICES}/{RIGHT}", device_link="/dev/sda")
BOTH = ScsiSight(sessions=(NEXUS, NEXUS_2), paths=(PATH, PATH_2), ports=(PORT,), owned=(REMOTE, REMOTE_2))
NEITHER = replace(BOTH, sessions=(EMPTY, EMPTY_2), paths=())

OWN, OWN_2 = Own((REMOTE,), 1), Own((REMOTE, REMOTE_2), 1)
SCAN, SCAN_2 = Scan("7:0:2:1", REMOTE, LOCAL), Scan("8:0:0:1", REMOTE_2, LOCAL_2)
PUBLISH, PUBLISH_2 = Publish("vm", "7:0:2:1", RIGHT, False, ""), Publish("vm", "8:0:0:1", RIGHT, False, "")
UNPUBLISH, REMOVE = Unpublish("vm", RIGHT), RemoveDevice("7:0:2:1", RIGHT)
DISOWN = Disown((REMOTE,), 1)
LUN_KEY, LUN_KEY_2, WWID_KEY = f"lun:{REMOTE}#1", f"lun:{REMOTE_2}#1", f"wwid:{RIGHT}"
BROKEN = Problem(Code.TARGET_REFUSED, "no")


def seen(sight: ScsiSight = MADE, **path: Any) -> ScsiSight:
    """The sight with its first path changed."""
    return replace(sight, paths=(replace(sight.paths[0], **path), *sight.paths[1:]))


def at(state: str, sight: ScsiSight = SEEN) -> ScsiSight:
    """The sight with its first port in that state."""
    return replace(sight, sessions=(replace(sight.sessions[0], state=state), *sight.sessions[1:]))


def tried(*done: Step, failed: tuple[Step, ...] = (), **more: Any) -> Context:
    """A context in which these steps were taken."""
    return Context("vm", done=(*done, *failed), failed=dict.fromkeys(failed, BROKEN), **more)


def short(decision: Decision) -> object:
    """A decision as the tables have it."""
    match decision:
        case Act(step) | Begin(step):
            return step
        case Fail(problem):
            return problem.code
        case Look() | Keep() | Wait() | Ready() | Gone():
            return type(decision)


ATTACH: dict[str, tuple[fc.Plan, ScsiSight, Context, object]] = {
    "no port at all": (PLAN, ScsiSight(), tried(), Code.UNSUPPORTED_ON_HOST),
    "nobody sees the target": (PLAN, ScsiSight(ports=(PORT,)), tried(), Code.TARGET_TIMEOUT),
    "the kernel gave it up": (PLAN, at("Not Present"), tried(), Code.TARGET_TIMEOUT),
    "the kernel waits for it": (PLAN, at("Blocked"), tried(), Wait),
    "it has not said that it is a target": (PLAN, at("Online, but no FCP Target"), tried(), Wait),
    "something under way": (PLAN, replace(SEEN, busy=("scan",)), tried(), Wait),
    "a port": (PLAN, SEEN, tried(), OWN),
    "a port, to be shared": (PLAN, EXPECTED, tried(), SCAN),
    "the kernel was faster": (PLAN, replace(MADE, owned=()), tried(), OWN),
    "a scan found nothing": (PLAN, EXPECTED, tried(SCAN), Wait),
    "a scan failed": (PLAN, EXPECTED, tried(failed=(SCAN,)), Code.TARGET_REFUSED),
    "no node yet": (PLAN, seen(node=None), tried(), Wait),
    "no answer": (PLAN, seen(designators=frozenset()), tried(), Wait),
    "the right one": (PLAN, MADE, tried(), PUBLISH),
    "published": (PLAN, LINKED, tried(), Ready),
    "another one": (PLAN, seen(designators=frozenset({WRONG})), tried(), RemoveDevice("7:0:2:1")),
    "another one, borrowed": (PLAN, seen(designators=frozenset({WRONG}), ours=False), tried(), Code.WRONG_DEVICE),
    "another one, needed": (
        PLAN,
        seen(designators=frozenset({WRONG})),
        tried(needed=frozenset({LUN_KEY})),
        Code.WRONG_DEVICE,
    ),
    "two ports": (TWO, replace(NEITHER, owned=()), tried(), OWN_2),
    "two ports, one of them ours": (TWO, replace(NEITHER, owned=(REMOTE,)), tried(), OWN_2),
    "two ports, the first is looked at": (TWO, NEITHER, tried(), SCAN),
    "two ports, nothing at the first": (TWO, NEITHER, tried(SCAN), SCAN_2),
    "two ports, the first failed": (TWO, NEITHER, tried(failed=(SCAN,)), SCAN_2),
    "two ports, nothing at either": (TWO, NEITHER, tried(SCAN, SCAN_2), Wait),
    "two ports, both failed": (TWO, NEITHER, tried(failed=(SCAN, SCAN_2)), Code.TARGET_REFUSED),
    "two ports, the first has no node yet": (TWO, seen(replace(BOTH, paths=(PATH,)), node=None), tried(), Wait),
    "two ports, the first is silent": (
        TWO,
        replace(NEITHER, sessions=(NEXUS, EMPTY_2), paths=(replace(PATH, designators=frozenset()),)),
        tried(),
        SCAN_2,
    ),
    "two ports, the first is another": (TWO, seen(BOTH, designators=frozenset({WRONG})), tried(), PUBLISH_2),
    "two ports, the first is blocked": (TWO, at("Blocked", BOTH), tried(), PUBLISH_2),
    "two ports, the second is handed out": (
        TWO,
        replace(BOTH, link=f"{DEVICES}/{RIGHT}", device_link="/dev/sdb"),
        tried(),
        Ready,
    ),
    "two ports, the first is handed out, and blocked": (
        TWO,
        at("Blocked", replace(BOTH, link=f"{DEVICES}/{RIGHT}", device_link="/dev/sda")),
        tried(wwid=RIGHT),
        Wait,
    ),
    "two ports, the first was handed out, and is lost": (
        TWO,
        at("Not Present", replace(BOTH, sessions=(EMPTY, NEXUS_2), paths=(PATH_2,), link=f"{DEVICES}/{RIGHT}")),
        tried(wwid=RIGHT),
        PUBLISH_2,
    ),
    "two ports, both right": (TWO, BOTH, tried(), PUBLISH),
}
LATER = tried(withdrawn=True)
DETACH: dict[str, tuple[fc.Plan, ScsiSight, Context, object]] = {
    "nothing there": (PLAN, SEEN, tried(), Gone),
    "no port any more": (PLAN, ScsiSight(), tried(), Gone),
    "something under way": (PLAN, replace(LINKED, busy=("scan",)), tried(), Wait),
    "published": (PLAN, LINKED, tried(), Look),
    "published, nobody uses it": (PLAN, replace(LINKED, users=()), tried(), UNPUBLISH),
    "published, somebody uses it": (PLAN, replace(LINKED, users=("qemu",)), tried(), Code.IN_USE),
    "published, and no disk of it is there": (PLAN, replace(LINKED, paths=()), tried(), UNPUBLISH),
    "published, needed": (
        PLAN,
        LINKED,
        tried(needed=frozenset({LUN_KEY, WWID_KEY})),
        Unpublish("vm", None),
    ),
    "a disk": (PLAN, MADE, tried(), REMOVE),
    "a disk of another volume": (PLAN, seen(designators=frozenset({WRONG})), tried(), RemoveDevice("7:0:2:1")),
    "a disk behind a blocked port": (
        PLAN,
        seen(at("Blocked", MADE), designators=frozenset()),
        tried(),
        RemoveDevice("7:0:2:1"),
    ),
    "somebody's disk": (PLAN, seen(ours=False), tried(), Gone),
    "a disk that others need": (PLAN, MADE, tried(needed=frozenset({LUN_KEY})), Gone),
    "removed, not gone": (PLAN, MADE, tried(REMOVE), Wait),
    "not to be removed": (PLAN, MADE, tried(failed=(REMOVE,)), Code.TARGET_REFUSED),
    "gone, while the server may still show it": (PLAN, EXPECTED, tried(), Gone),
    "gone, and withdrawn": (PLAN, EXPECTED, LATER, DISOWN),
    "back before it was withdrawn": (PLAN, MADE, LATER, REMOVE),
    "withdrawn, but others need it": (PLAN, EXPECTED, tried(withdrawn=True, needed=frozenset({LUN_KEY})), Gone),
    "all is given up": (PLAN, SEEN, LATER, Gone),
    "two disks": (TWO, BOTH, tried(), REMOVE),
    "the second of two": (
        TWO,
        replace(BOTH, sessions=(EMPTY, NEXUS_2), paths=(PATH_2,)),
        tried(),
        RemoveDevice("8:0:0:1", RIGHT),
    ),
    "one of two is somebody's": (TWO, seen(BOTH, ours=False), tried(), RemoveDevice("8:0:0:1", RIGHT)),
    "withdrawn, one of two is needed": (
        TWO,
        NEITHER,
        tried(withdrawn=True, needed=frozenset({LUN_KEY_2})),
        DISOWN,
    ),
}


@pytest.mark.parametrize("case", ATTACH)
def test_attach(case: str) -> None:
    plan, sight, context, next_ = ATTACH[case]
    assert short(fc.decide(Goal.ATTACHED, plan.as_json(), sight, context)) == next_


@pytest.mark.parametrize("case", DETACH)
def test_detach(case: str) -> None:
    plan, sight, context, next_ = DETACH[case]
    assert short(fc.decide(Goal.GONE, plan.as_json(), sight, context)) == next_


def test_a_scan_is_of_one_address_and_comes_round() -> None:
    """Case 14. After a wait, the way that was looked at the longest ago is next."""
    waiting = fc.decide(Goal.ATTACHED, TWO.as_json(), NEITHER, tried(SCAN_2, SCAN))
    assert isinstance(waiting, Wait) and waiting.again == SCAN_2
    assert "20:00:02:00:00:00:00:13 from 20:00:02:00:00:00:00:12" in waiting.reason


FLAT = replace(PLAN, lun=300)


def test_above_255_a_lun_has_two_forms() -> None:
    """Case 73: the kernel's number of an array that uses flat space addressing is 16684 for its LUN 300."""
    expected = replace(SEEN, owned=(REMOTE,))
    plain, flat = (Scan(f"7:0:2:{number}", REMOTE, LOCAL) for number in (300, 16684))
    assert fc.decide(Goal.ATTACHED, FLAT.as_json(), expected, tried()) == Act(plain)
    assert fc.decide(Goal.ATTACHED, FLAT.as_json(), expected, tried(plain)) == Act(flat)
    there = replace(
        expected,
        sessions=(replace(EMPTY, devices=("7:0:2:16684",)),),
        paths=(replace(PATH, hctl="7:0:2:16684"),),
    )
    assert fc.decide(Goal.ATTACHED, FLAT.as_json(), there, tried()) == Act(replace(PUBLISH, hctl="7:0:2:16684"))
    removal = Act(RemoveDevice("7:0:2:16684", RIGHT))
    assert fc.decide(Goal.GONE, FLAT.as_json(), there, tried()) == removal
    needed = tried(needed=frozenset({f"lun:{REMOTE}#300"}))
    assert fc.decide(Goal.GONE, FLAT.as_json(), there, needed) == Gone()


def test_who_sees_nothing_is_told_what_there_is_to_see() -> None:
    ports = (
        PORT,
        FcPort(LOCAL_2, 8, "Linkdown"),
        FcPort(REMOTE, 9, "Online", tuple(f"port {number}" for number in range(20))),
    )
    decision = fc.decide(Goal.ATTACHED, replace(PLAN, targets=(REMOTE_2,)).as_json(), ScsiSight(ports=ports), tried())
    assert isinstance(decision, Fail)
    detail = decision.problem.detail
    assert detail.startswith("no port of this host sees 20:00:02:00:00:00:00:13: ")
    assert "20:00:02:00:00:00:00:10 (host7) is Online and sees 20:00:02:00:00:00:00:11 Online (FCP Target)" in detail
    assert "20:00:02:00:00:00:00:12 (host8) is Linkdown and sees nothing" in detail
    assert "port 7, 12 more" in detail and "port 8" not in detail


@pytest.mark.parametrize(
    "plan",
    [{"targets": []}, {"targets": ["20:00:02:00:00:00:00:11"]}, {"lun": -1}, {"lun": 70000}, {"wwid": "x"}],
)
def test_a_plan_is_checked(plan: dict[str, Any]) -> None:
    with pytest.raises(Problem) as refused:
        fc.plan_of(PLAN.as_json() | plan)
    assert refused.value.code is Code.INVALID_REQUEST


def test_a_plan_needs_its_lun_at_every_target_and_the_unit() -> None:
    assert fc.needs(TWO.as_json()) == {LUN_KEY, LUN_KEY_2, WWID_KEY}
    assert fc.plan_of(TWO.as_json()) == TWO


def test_a_plan_of_an_earlier_version_keeps_no_daemon_from_starting() -> None:
    """It took over the bits of a LUN's addressing method as the server wrote them."""
    assert fc.plan_of(PLAN.as_json() | {"lun": 0x4001}) == PLAN
    assert fc.needs(PLAN.as_json() | {"lun": 0x4001}) == fc.needs(PLAN.as_json())
