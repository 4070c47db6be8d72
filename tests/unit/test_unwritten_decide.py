"""The way out where what this host caches could not be written out: waited for, told, or given up."""

from dataclasses import replace

import pytest

from attachers import iscsi
from attachers.base import Context, Goal, Gone, Wait
from attachers.problems import Code
from attachers.sights import ScsiSight
from attachers.steps import GiveUp
from tests.unit.test_iscsi_decide import (
    FLUSH,
    LINKED,
    LOGGED_IN,
    LUN_KEY,
    MADE,
    PLAN,
    RECORD_KEY,
    REMOVE,
    RIGHT,
    SESSION_KEY,
    SILENT,
    UNPUBLISH,
    WRONG,
    WWID_KEY,
    others,
    seen,
    short,
    tried,
)

DIRTY, GONE_AND_DIRTY = replace(MADE, dirty=True), replace(LOGGED_IN, dirty=True)
SWAPPED = seen(designators=frozenset({WRONG}))
LED_ASTRAY = replace(seen(LINKED, designators=frozenset({WRONG})), dirty=True)
DETACH: dict[str, tuple[iscsi.Plan, ScsiSight, Context, object]] = {
    "a silent disk (case 98)": (PLAN, SILENT, tried(used=True), Wait),
    "a silent disk, read-only": (PLAN, seen(SILENT, read_only=True), tried(used=True), REMOVE),
    "a silent disk without a node": (PLAN, seen(SILENT, node=None), tried(used=True), REMOVE),
    "a silent disk, its loss known": (PLAN, SILENT, tried(used=True, force=True), replace(REMOVE, lost=True)),
    "a dirty disk (case 97)": (PLAN, DIRTY, tried(used=True), Code.DIRTY),
    "a dirty disk, published": (PLAN, replace(LINKED, dirty=True), tried(used=True), Code.DIRTY),
    "a dirty disk that others need": (PLAN, DIRTY, others(WWID_KEY, LUN_KEY, SESSION_KEY, RECORD_KEY, used=True), Gone),
    "a dirty disk, its loss known": (PLAN, DIRTY, tried(used=True, force=True), replace(FLUSH, lost=True)),
    "a dirty disk, gone": (PLAN, GONE_AND_DIRTY, tried(used=True), Code.DIRTY),
    "a dirty disk, gone, its loss known": (PLAN, GONE_AND_DIRTY, tried(used=True, force=True), GiveUp(RIGHT)),
    "a disk that can be written out, by force": (PLAN, MADE, tried(used=True, force=True), FLUSH),
    "another volume": (PLAN, SWAPPED, tried(used=True), Code.DIRTY),
    "another volume, read-only": (PLAN, SWAPPED, replace(tried(used=True), read_only=True), REMOVE),
    "another volume, that nobody was given": (PLAN, SWAPPED, tried(), REMOVE),
    "another volume, and the right one was written out": (
        PLAN,
        SWAPPED,
        tried(replace(FLUSH, hctl="3:0:0:1"), used=True),
        REMOVE,
    ),
    "another volume, dirty, published": (PLAN, replace(LED_ASTRAY, users=()), tried(used=True), UNPUBLISH),
    "another volume, dirty": (PLAN, replace(SWAPPED, dirty=True), tried(used=True), Code.DIRTY),
    "another volume, by force": (PLAN, seen(designators=frozenset({WRONG})), tried(used=True, force=True), REMOVE),
}


@pytest.mark.parametrize("case", DETACH)
def test_detach(case: str) -> None:
    plan, sight, context, next_ = DETACH[case]
    assert short(iscsi.decide(Goal.GONE, plan.as_json(), sight, context)) == next_
