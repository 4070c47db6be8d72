"""What is decided where somebody uses the disk (case 79): before its link goes, and before its permission does."""

from dataclasses import replace

import pytest

from attachers import iscsi
from attachers.base import Context, Goal, Gone, Look
from attachers.problems import Code
from attachers.sights import ScsiSight
from tests.unit.test_iscsi_decide import BORROWED, LINKED, PLAN, RIGHT, UNPUBLISH, WWID_KEY, short, tried

DETACH: dict[str, tuple[iscsi.Plan, ScsiSight, Context, object]] = {
    "published, nobody uses it": (PLAN, replace(LINKED, users=()), tried(), UNPUBLISH),
    "published, somebody uses it": (PLAN, replace(LINKED, users=("qemu",)), tried(), Code.IN_USE),
    "published, and no disk of it is there": (PLAN, replace(LINKED, paths=()), tried(), UNPUBLISH),
    "borrowed": (PLAN, BORROWED, tried(UNPUBLISH), Look),
    "borrowed, nobody uses it": (PLAN, replace(BORROWED, users=()), tried(UNPUBLISH), Gone),
    "borrowed, somebody uses it": (PLAN, replace(BORROWED, users=("mount /srv",)), tried(UNPUBLISH), Code.IN_USE),
    "borrowed, somebody uses it, and so do others here": (
        PLAN,
        replace(BORROWED, users=("qemu",)),
        tried(UNPUBLISH, needed=frozenset({WWID_KEY})),
        Gone,
    ),
    "borrowed, somebody uses it, and its record is lost": (
        PLAN,
        replace(BORROWED, users=("device dm-3",)),
        tried(wwid=RIGHT),
        Code.IN_USE,
    ),
    "borrowed, somebody uses it, and it was never handed out": (
        PLAN,
        replace(BORROWED, users=("device dm-3",)),
        tried(),
        Gone,
    ),
}


@pytest.mark.parametrize("case", DETACH)
def test_detach(case: str) -> None:
    plan, sight, context, next_ = DETACH[case]
    assert short(iscsi.decide(Goal.GONE, plan.as_json(), sight, context)) == next_
