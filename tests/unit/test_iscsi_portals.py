"""Which portal the LUN is looked for at, as a table: at every one, before time is up (attach.md, case 82)."""

from dataclasses import replace

import pytest

from attachers import iscsi
from attachers.base import Context, Goal, Wait
from attachers.problems import Code
from attachers.sights import Record, ScsiSight, Session
from attachers.steps import Login, Scan
from tests.unit.test_iscsi_decide import (
    AT_OTHER,
    BROKEN,
    EMPTY,
    LINKED,
    LOGGED,
    OTHER,
    PATH,
    PLAN,
    PUBLISH,
    RECORD,
    REMOVE,
    RIGHT,
    SCAN,
    SESSION,
    TARGET,
    TWO,
    WRONG,
    seen,
    short,
    tried,
)

SECOND = Session(3, 5, TARGET, OTHER, "LOGGED_IN", ours=True)
RECORD_2 = Record(TARGET, OTHER, ours=True)
LOGIN_2, SCAN_2 = Login(TARGET, OTHER), Scan("5:0:0:1", TARGET, OTHER)
EVERYWHERE = ScsiSight((RECORD, RECORD_2), (EMPTY, SECOND))
IN_STANDBY = seen(unread="I/O error", access="standby")
AT_BOTH = replace(
    IN_STANDBY,
    sessions=(SESSION, replace(SECOND, devices=("5:0:0:1",))),
    paths=(*IN_STANDBY.paths, replace(PATH, hctl="5:0:0:1", via=OTHER, node="/dev/sdb")),
)
EVERY_PORTAL: dict[str, tuple[iscsi.Plan, ScsiSight, Context, object]] = {
    "no block to be read": (PLAN, seen(unread="I/O error"), tried(), Wait),
    "published, but no block to be read": (PLAN, seen(LINKED, unread="I/O error"), tried(), Wait),
    "nothing shows: the next portal": (TWO, LOGGED, tried(SCAN), AT_OTHER),
    "then log in there": (TWO, replace(LOGGED, records=(RECORD, RECORD_2)), tried(SCAN, AT_OTHER), LOGIN_2),
    "then look there": (TWO, EVERYWHERE, tried(SCAN, LOGIN_2), SCAN_2),
    "then in turns": (TWO, EVERYWHERE, tried(SCAN, SCAN_2), Wait),
    "the other one is refused": (TWO, LOGGED, tried(SCAN, failed=(AT_OTHER,)), Wait),
    "in standby: the next portal": (TWO, IN_STANDBY, tried(), AT_OTHER),
    "in standby: passed over": (TWO, AT_BOTH, tried(), replace(PUBLISH, hctl="5:0:0:1")),
    "silent: the next portal": (TWO, seen(designators=frozenset()), tried(), AT_OTHER),
    "another unit: the next portal": (TWO, seen(designators=frozenset({WRONG})), tried(REMOVE), AT_OTHER),
    "another unit, nowhere else either": (
        TWO,
        seen(designators=frozenset({WRONG})),
        tried(REMOVE, failed=(AT_OTHER,)),
        Code.WRONG_DEVICE,
    ),
    "no node yet: patience": (TWO, seen(node=None), tried(), Wait),
    "handed out and in standby: who has it open is not helped by another": (
        TWO,
        seen(LINKED, unread="I/O error", access="standby"),
        tried(wwid=RIGHT),
        Wait,
    ),
}


@pytest.mark.parametrize("case", EVERY_PORTAL)
def test_the_lun_may_be_behind_another_portal(case: str) -> None:
    """Case 82."""
    plan, sight, context, next_ = EVERY_PORTAL[case]
    seen_ = replace(sight, owned=(plan.target,))
    assert short(iscsi.decide(Goal.ATTACHED, plan.as_json(), seen_, context)) == next_


def test_what_is_the_matter_at_each_portal_is_told() -> None:
    waiting = iscsi.decide(Goal.ATTACHED, TWO.as_json(), IN_STANDBY, tried(failed=(AT_OTHER,)))
    assert isinstance(waiting, Wait) and "ALUA state standby" in waiting.problem.detail
    assert waiting.problem.detail.endswith(BROKEN.detail) and waiting.reason.endswith(BROKEN.detail)
