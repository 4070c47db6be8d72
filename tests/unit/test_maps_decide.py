"""The decisions for a LUN with several paths as tables: what is seen, what was tried, and the one next thing."""

from dataclasses import replace
from typing import Any

import pytest

from agent.engine.ways import choose_ways
from attachers import iscsi
from attachers.base import Begin, Context, Fail, Goal, Gone, Look, Ready, Wait
from attachers.problems import Code, Problem
from attachers.sights import Ability, MapNotes, MapPath, Record, ScsiMap, ScsiPath, ScsiSight, Session
from attachers.steps import (
    DEVICES,
    AnnounceMap,
    CreateRecord,
    ForgetMap,
    JoinMap,
    LeaveMap,
    Login,
    Logout,
    Publish,
    RemoveDevice,
    RemoveMap,
    Rescan,
    Scan,
    Step,
    Unpublish,
)
from tests.unit.test_iscsi_decide import BROKEN, short

TARGET, ONE, TWO = "iqn.2026-01.org.example:t", "10.0.0.1:3260", "10.0.0.2:3260"
RIGHT, WRONG = "naa.60014050000000000000000000000001", "naa.60014050000000000000000000000002"
SIZE = 1 << 20
PLAN = iscsi.Plan(TARGET, (ONE, TWO), 1, RIGHT, SIZE, multipath=True)
RECORDS = (Record(TARGET, ONE, ours=True), Record(TARGET, TWO, ours=True))
FIRST = Session(1, 3, TARGET, ONE, "LOGGED_IN", ("3:0:0:1",), ours=True)
SECOND = Session(2, 4, TARGET, TWO, "LOGGED_IN", ("4:0:0:1",), ours=True)
BARE = (replace(FIRST, devices=()), replace(SECOND, devices=()))
SDA = ScsiPath("3:0:0:1", ONE, "/dev/sda", "running", SIZE, False, RIGHT, frozenset({RIGHT}), ours=True)
SDB = replace(SDA, hctl="4:0:0:1", via=TWO, node="/dev/sdb")
IN_A, IN_B = (MapPath(p.hctl, p.node or "", usable=True, size=SIZE, designators=frozenset({RIGHT})) for p in (SDA, SDB))
MAP = ScsiMap(f"mpath-3{RIGHT[4:]}", "/dev/dm-0", False, SIZE, False, True, 0, (IN_A, IN_B), ours=True)
HALF = replace(MAP, paths=(IN_A,))
NOTES = MapNotes(announced=True, listed=False, ours=True)
SEEN = ScsiSight(RECORDS, (FIRST, SECOND), (SDA, SDB), notes=NOTES)
MAPPED = replace(SEEN, map=MAP)
OUT = replace(MAPPED, link=f"{DEVICES}/{RIGHT}", device_link="/dev/dm-0")
OUT_HALF = replace(OUT, map=HALF, paths=(SDA,), sessions=(FIRST, BARE[1]))

CREATE, LOGIN = CreateRecord(TARGET, ONE), Login(TARGET, ONE)
CREATE2, LOGIN2 = CreateRecord(TARGET, TWO), Login(TARGET, TWO)
SCAN, SCAN2 = Scan("3:0:0:1", TARGET, ONE), Scan("4:0:0:1", TARGET, TWO)
ANNOUNCE, JOIN, JOIN2 = AnnounceMap(RIGHT), JoinMap("3:0:0:1", RIGHT), JoinMap("4:0:0:1", RIGHT)
PUBLISH = Publish("vm", "", RIGHT, False, "")
REMOVE_MAP, FORGET_MAP, LEAVE2 = RemoveMap(RIGHT), ForgetMap(RIGHT), LeaveMap("4:0:0:1", RIGHT)
REMOVE, REMOVE2 = RemoveDevice("3:0:0:1", RIGHT), RemoveDevice("4:0:0:1", RIGHT)
WWID_KEY, LUN_KEY = f"wwid:{RIGHT}", f"lun:{TARGET}@{ONE}#1"


def tried(*done: Step, failed: tuple[Step, ...] = (), unsure: tuple[Step, ...] = (), **more: Any) -> Context:
    done = (*done, *failed, *unsure)
    return Context("vm", done=done, failed=dict.fromkeys(failed, BROKEN), unsure=frozenset(unsure), **more)


def wrong(path: ScsiPath) -> ScsiPath:
    return replace(path, designators=frozenset({WRONG}), sysfs_wwid=WRONG)


def astray(member: MapPath) -> MapPath:
    return replace(member, designators=frozenset({WRONG}))


SWAPPED = replace(OUT, paths=(SDA, wrong(SDB)), map=replace(MAP, paths=(IN_A, astray(IN_B))))
ATTACH: dict[str, tuple[ScsiSight, Context, object]] = {
    "nothing there": (ScsiSight(), tried(), CREATE),
    "a record": (ScsiSight(RECORDS[:1]), tried(CREATE), ("begin", LOGIN)),
    "a login under way, the next record": (
        ScsiSight(RECORDS[:1]),
        tried(CREATE, under_way=frozenset({LOGIN})),
        CREATE2,
    ),
    "a login under way here and shown": (replace(ScsiSight(RECORDS[:1]), busy=(LOGIN.describe(),)), tried(), CREATE2),
    "both logins under way": (ScsiSight(RECORDS), tried(under_way=frozenset({LOGIN, LOGIN2})), Wait),
    "one login failed, the other is under way": (
        ScsiSight(RECORDS),
        tried(failed=(LOGIN2,), under_way=frozenset({LOGIN})),
        Wait,
    ),
    "both logins failed": (ScsiSight(RECORDS), tried(failed=(LOGIN, LOGIN2)), Code.TARGET_REFUSED),
    "something else under way": (replace(SEEN, busy=(REMOVE_MAP.describe(),)), tried(), Wait),
    "a session, nothing announced: not before a disk has proved itself": (
        ScsiSight(RECORDS, BARE),
        tried(),
        ("begin", SCAN),
    ),
    "announced": (ScsiSight(RECORDS, BARE, notes=NOTES), tried(), ("begin", SCAN)),
    "one scan under way": (ScsiSight(RECORDS, BARE, notes=NOTES), tried(under_way=frozenset({SCAN})), ("begin", SCAN2)),
    "a disk that was there before": (replace(SEEN, notes=None), tried(), ANNOUNCE),
    "a path": (replace(SEEN, sessions=(FIRST,), paths=(SDA,), records=RECORDS[:1]), tried(failed=(CREATE2,)), JOIN),
    "a path, and another portal to log in to": (
        replace(SEEN, sessions=(FIRST,), paths=(SDA,)),
        tried(),
        ("begin", LOGIN2),
    ),
    "two paths": (SEEN, tried(), JOIN),
    "joined, no map yet": (SEEN, tried(JOIN, JOIN2), Wait),
    "a silent path": (replace(SEEN, paths=(replace(SDA, designators=frozenset()), SDB)), tried(), JOIN2),
    "a path in standby joins": (
        replace(SEEN, paths=(replace(SDA, unread="EIO", access="standby"), SDB)),
        tried(),
        JOIN,
    ),
    "none but one in standby": (
        replace(MAPPED, map=HALF, paths=(replace(SDA, unread="EIO", access="standby"),), sessions=(FIRST,)),
        tried(failed=(LOGIN2, CREATE2)),
        Wait,
    ),
    "one in standby, one that works": (
        replace(OUT, paths=(replace(SDA, unread="EIO", access="standby"), SDB)),
        tried(),
        Ready,
    ),
    "two wanted, one of them in standby": (
        replace(OUT, paths=(replace(SDA, unread="EIO", access="standby"), SDB)),
        tried(min_paths=2),
        Wait,
    ),
    "a path of another size": (replace(SEEN, paths=(SDA, replace(SDB, size=2))), tried(JOIN), Wait),
    "in the map": (MAPPED, tried(), PUBLISH),
    "half in the map": (replace(MAPPED, map=HALF), tried(), PUBLISH),
    "half in the map, two wanted": (replace(MAPPED, map=HALF), tried(min_paths=2), JOIN2),
    "suspended": (replace(MAPPED, map=replace(MAP, suspended=True)), tried(), Wait),
    "no usable path": (
        replace(MAPPED, map=replace(MAP, paths=tuple(replace(p, usable=False) for p in (IN_A, IN_B)))),
        tried(),
        Wait,
    ),
    "published": (OUT, tried(), Ready),
    "published, half of it": (OUT_HALF, tried(), Ready),
    "published, half of it, all wanted": (OUT_HALF, tried(whole=True), ("begin", SCAN2)),
    "published, half of it, nothing more to be had": (
        replace(OUT_HALF, sessions=(FIRST,)),
        tried(whole=True, failed=(LOGIN2,)),
        Ready,
    ),
    "published, another owner": (OUT, tried(owner="a:b"), replace(PUBLISH, owner="a:b")),
    "published, the link leads to a disk": (replace(OUT, device_link="/dev/sda"), tried(), PUBLISH),
    "published and read-only": (replace(OUT, map=replace(MAP, read_only=True)), tried(), Wait),
    "published and read-only, as wanted": (
        replace(OUT, map=replace(MAP, read_only=True)),
        tried(read_only=True),
        Ready,
    ),
    "another unit answers on one path (case 3)": (
        replace(SEEN, paths=(SDA, wrong(SDB))),
        tried(JOIN),
        RemoveDevice(SDB.hctl),
    ),
    "another unit answers in the map": (SWAPPED, tried(), LEAVE2),
    "another unit answers in the map, and stays": (SWAPPED, tried(failed=(LEAVE2,)), Code.WRONG_DEVICE),
    "a stranger in the map": (
        replace(OUT, map=replace(MAP, paths=(IN_A, replace(astray(IN_B), hctl="9:0:0:7")))),
        tried(),
        LeaveMap("9:0:0:7", RIGHT),
    ),
    "somebody's map, none of whose paths the export names": (
        ScsiSight(RECORDS, BARE, map=replace(MAP, ours=False, paths=(replace(IN_A, hctl="9:0:0:7"),))),
        tried(),
        Code.WRONG_DEVICE,
    ),
    "somebody's map, one of whose paths the export names": (
        replace(MAPPED, notes=None, map=replace(MAP, ours=False, paths=(IN_A, replace(IN_B, hctl="9:0:0:7")))),
        tried(),
        ANNOUNCE,
    ),
    "a map to be grown, a path of which the kernel has lost": (
        replace(OUT, map=replace(MAP, paths=(IN_A, MapPath("", "", usable=False, size=0)))),
        tried(Rescan(SDA.hctl, RIGHT), Rescan(SDB.hctl, RIGHT), grow=0),
        Ready,
    ),
    "published, and its paths have grown since": (
        replace(OUT, paths=tuple(replace(path, size=2 * SIZE) for path in (SDA, SDB))),
        tried(wwid=RIGHT),
        Ready,
    ),
    "published, and a path is smaller": (
        replace(OUT, paths=(SDA, SDB), map=replace(MAP, size=2 * SIZE)),
        tried(wwid=RIGHT),
        Wait,
    ),
    "not handed out yet, and its paths have another size than the map (case 3)": (
        replace(MAPPED, paths=tuple(replace(path, size=2 * SIZE) for path in (SDA, SDB))),
        tried(),
        Wait,
    ),
    "somebody's map, read-only": (
        replace(MAPPED, map=replace(MAP, read_only=True, ours=False)),
        tried(),
        Code.TARGET_REFUSED,
    ),
}
GONE = replace(SEEN, sessions=BARE, paths=())
FOREIGN = replace(MAPPED, map=replace(MAP, ours=False))
DEAD = replace(MAPPED, map=replace(MAP, paths=tuple(replace(p, usable=False) for p in (IN_A, IN_B))))
LOSE_MAP = RemoveMap(RIGHT, lost=True)
READ_ONLY_AND_DEAD = replace(DEAD, map=replace(DEAD.map or MAP, read_only=True))
DETACH: dict[str, tuple[ScsiSight, Context, object]] = {
    "published": (OUT, tried(), Look),
    "published, nobody uses it": (replace(OUT, users=()), tried(), Unpublish("vm", RIGHT)),
    "published, somebody uses a path of it": (replace(OUT, users=("mount /srv",)), tried(), Code.IN_USE),
    "a borrowed map that somebody uses": (
        replace(MAPPED, map=replace(MAP, ours=False), paths=(), notes=None, users=("device dm-3",)),
        tried(Unpublish("vm", RIGHT)),
        Code.IN_USE,
    ),
    "published, needed": (OUT, tried(needed=frozenset({WWID_KEY})), Unpublish("vm", None)),
    "a map": (MAPPED, tried(), REMOVE_MAP),
    "a map in use": (MAPPED, tried(failed=(REMOVE_MAP,)), Code.TARGET_REFUSED),
    "a map that perhaps was removed": (MAPPED, tried(unsure=(REMOVE_MAP,)), REMOVE_MAP),
    "a map that perhaps was written out, and fell silent": (DEAD, tried(unsure=(REMOVE_MAP,)), Code.DIRTY),
    "a map without a usable path, never handed out (case 45)": (DEAD, tried(), LOSE_MAP),
    "a map without a usable path (case 98)": (DEAD, tried(used=True), Wait),
    "a map without a usable path, read-only": (READ_ONLY_AND_DEAD, tried(used=True), LOSE_MAP),
    "a map without a usable path, its loss known": (DEAD, tried(used=True, force=True), LOSE_MAP),
    "a map that is dirty": (replace(MAPPED, dirty=True), tried(used=True), Code.DIRTY),
    "a map that is dirty, its loss known": (replace(MAPPED, dirty=True), tried(used=True, force=True), LOSE_MAP),
    "a map that was not written out, its loss known": (
        MAPPED,
        replace(tried(REMOVE_MAP, used=True, force=True), failed={REMOVE_MAP: Problem(Code.DIRTY, "EIO")}),
        LOSE_MAP,
    ),
    "a map in use, by force": (MAPPED, tried(used=True, force=True, failed=(REMOVE_MAP,)), Code.TARGET_REFUSED),
    "a map that is written out all the same": (MAPPED, tried(used=True, force=True), REMOVE_MAP),
    "a write-out that is stuck, its loss known": (
        replace(DEAD, busy=(REMOVE_MAP.describe(),)),
        tried(used=True, force=True),
        LOSE_MAP,
    ),
    "a write-out that is stuck": (replace(DEAD, busy=(REMOVE_MAP.describe(),)), tried(used=True), Wait),
    "a map that is there again": (MAPPED, tried(REMOVE_MAP), Wait),
    "another unit answers in the map (case 3)": (replace(SWAPPED, link=None), tried(), LEAVE2),
    "another unit answers in the map, and stays": (
        replace(SWAPPED, link=None),
        tried(failed=(LEAVE2,)),
        Code.TARGET_REFUSED,
    ),
    "a map that others need": (MAPPED, tried(needed=frozenset({WWID_KEY, LUN_KEY, LUN_KEY.replace(ONE, TWO)})), Gone),
    "a ghost map (case 47)": (replace(GONE, map=replace(MAP, paths=())), tried(), LOSE_MAP),
    "somebody's map with our path": (FOREIGN, tried(), LeaveMap(SDA.hctl, RIGHT)),
    "somebody's map, left": (replace(FOREIGN, map=replace(MAP, paths=(), ours=False)), tried(), REMOVE),
    "no map": (SEEN, tried(), REMOVE),
    "a disk that multipathd had taken again, and let go (case 12)": (
        SEEN,
        tried(failed=(REMOVE,), unsure=()),
        Code.TARGET_REFUSED,
    ),
    "no disk": (GONE, tried(), FORGET_MAP),
    "no disk, but somebody's note": (replace(GONE, notes=replace(NOTES, ours=False)), tried(), Logout(TARGET, ONE)),
    "only on multipath's list, after a reboot": (
        ScsiSight(notes=MapNotes(False, True, ours=True)),
        tried(),
        FORGET_MAP,
    ),
    "a login that cannot be called off": (replace(MAPPED, busy=(LOGIN2.describe(),)), tried(), REMOVE_MAP),
    "only such a login": (replace(ScsiSight(RECORDS[1:]), busy=(LOGIN2.describe(),)), tried(), Wait),
    "nothing": (ScsiSight(), tried(), Gone),
}


@pytest.mark.parametrize("case", ATTACH)
def test_attach(case: str) -> None:
    sight, context, next_ = ATTACH[case]
    owned = replace(sight, owned=(PLAN.target,))
    assert short(iscsi.decide(Goal.ATTACHED, PLAN.as_json(), owned, context)) == next_


@pytest.mark.parametrize("case", DETACH)
def test_detach(case: str) -> None:
    sight, context, next_ = DETACH[case]
    assert short(iscsi.decide(Goal.GONE, PLAN.as_json(), sight, context)) == next_


def test_a_disk_whose_map_has_gone_is_removed_after_all() -> None:
    context = tried(REMOVE, REMOVE_MAP)
    context = replace(context, failed={REMOVE: BROKEN})
    assert short(iscsi.decide(Goal.GONE, PLAN.as_json(), SEEN, context)) == REMOVE


@pytest.mark.parametrize("sight", [OUT, OUT_HALF])
def test_what_is_missing_is_said(sight: ScsiSight) -> None:
    decision = iscsi.decide(Goal.ATTACHED, PLAN.as_json(), replace(sight, owned=(PLAN.target,)), tried())
    assert isinstance(decision, Ready) and decision.verified
    assert {path.via: path.state for path in decision.device.paths}[ONE] == "running"
    if sight is OUT:
        assert decision.missing is None and len(decision.device.paths) == 2
    else:
        assert decision.missing and decision.missing.detail.startswith(f"1 of 2 paths ({TWO}: scan 4:0:0:1")


@pytest.mark.parametrize("sight", [MAPPED, replace(MAPPED, map=None)])
def test_a_refused_detach_gives_the_link_back_to_the_map_and_never_to_a_disk(sight: ScsiSight) -> None:
    failed = REMOVE_MAP if sight.map else REMOVE
    decision = iscsi.decide(Goal.GONE, PLAN.as_json(), sight, tried(Unpublish("vm", RIGHT), failed=(failed,)))
    assert isinstance(decision, Fail) and decision.restore == (PUBLISH if sight.map else None)


def test_the_wait_that_is_worth_another_try_longest_comes_first() -> None:
    sight = ScsiSight(RECORDS, BARE, notes=NOTES)
    for order in ((SCAN, SCAN2), (SCAN2, SCAN)):
        decision = iscsi.decide(Goal.ATTACHED, PLAN.as_json(), replace(sight, owned=(PLAN.target,)), tried(*order))
        assert isinstance(decision, Wait) and decision.again == order[0]


def test_a_name_is_needed() -> None:
    with pytest.raises(Problem, match="logical_unit_name"):
        replace(PLAN, wwid=None)


def test_the_plan_in_the_ledger_says_so() -> None:
    assert iscsi.plan_of(PLAN.as_json()) == PLAN
    assert "multipath" not in replace(PLAN, multipath=False).as_json()


RUNS, AWAY = Ability(True), Ability(False, "multipathd does not run on this host")
ISCSI1, ISCSI2 = {"portals": [ONE], "wwid": RIGHT}, {"portals": [ONE, TWO], "wwid": RIGHT}


@pytest.mark.parametrize(
    ("plan", "setting", "ability", "multipath", "noted"),
    [
        (ISCSI1, "auto", RUNS, False, False),
        (ISCSI2, "auto", RUNS, True, False),
        (ISCSI2, "auto", AWAY, False, True),
        (ISCSI2 | {"wwid": None}, "auto", RUNS, False, True),
        (ISCSI2 | {"wwid": "naa.3000000072f1c5ba"}, "auto", RUNS, False, True),
        (ISCSI2, "never", RUNS, False, False),
        (ISCSI1, "always", RUNS, True, False),
        ({"targets": ["2000000000000001"], "wwid": RIGHT}, "always", RUNS, True, False),
        ({"server": "nas", "path": "/x"}, "always", AWAY, False, False),
        ({"server": "nas", "path": "/x"}, "auto", RUNS, False, False),
    ],
)
def test_one_way_or_all(plan: dict[str, Any], setting: str, ability: Ability, multipath: bool, noted: bool) -> None:
    choice = choose_ways(plan, setting, ability, min_paths=1)
    assert (choice.multipath, bool(choice.note)) == (multipath, noted)


@pytest.mark.parametrize(
    ("plan", "setting", "ability", "min_paths", "why"),
    [
        (ISCSI2, "always", AWAY, 1, "multipath = always: multipathd does not run"),
        (ISCSI1 | {"wwid": None}, "always", RUNS, 1, "multipath = always: the export names no logical unit"),
        (ISCSI2, "auto", RUNS, 3, "min_paths: 3 are asked for, and the export names 2 ways"),
        (ISCSI2, "auto", AWAY, 2, "2 are asked for, and the export names 2 ways; multipathd does not run"),
        (ISCSI2, "never", RUNS, 2, "multipath = never"),
        (ISCSI1, "auto", RUNS, 2, "names 1 way"),
    ],
)
def test_what_cannot_be_is_refused(
    plan: dict[str, Any], setting: str, ability: Ability, min_paths: int, why: str
) -> None:
    with pytest.raises(Problem, match=why) as caught:
        choose_ways(plan, setting, ability, min_paths=min_paths)
    assert caught.value.code is Code.UNSUPPORTED_ON_HOST and caught.value.hint


def test_a_begin_is_no_act() -> None:
    assert short(Begin(LOGIN)) != LOGIN
