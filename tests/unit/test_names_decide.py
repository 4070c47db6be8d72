"""What the names that a unit answers decide: which of them counts, and what is no disk at all."""

from dataclasses import replace

import pytest

from attachers import iscsi
from attachers.base import Context, Goal, Keep, Ready
from attachers.problems import Code
from attachers.sights import ScsiSight
from attachers.steps import DEVICES
from tests.unit.test_iscsi_decide import (
    BORROWED,
    EUI,
    LINKED,
    MADE,
    PLAN,
    PUBLISH,
    REMOVE,
    RIGHT,
    UNNAMED,
    UNVERIFIED,
    WWID_KEY,
    others,
    seen,
    short,
    tried,
)

CONTROLLER = replace(seen(BORROWED, kind="controller"), owned=(PLAN.target,))
BY_EUI, BOTH = replace(PLAN, wwid=EUI), frozenset({RIGHT, EUI})
CASES: dict[str, tuple[iscsi.Plan, ScsiSight, Context, object]] = {
    "the kernel remembers an iSCSI name": (PLAN, seen(sysfs_wwid="iqn.2012-06.org.x:t,lun,0"), tried(), PUBLISH),
    "the export says its EUI": (BY_EUI, replace(seen(designators=BOTH), main=RIGHT), tried(), Keep),
    "the same, kept": (replace(BY_EUI, main=RIGHT), seen(designators=BOTH), tried(), PUBLISH),
    "the same, published": (replace(BY_EUI, main=RIGHT), seen(LINKED, designators=BOTH), tried(wwid=RIGHT), Ready),
    "an earlier version published it by its EUI": (
        BY_EUI,
        replace(seen(LINKED, designators=BOTH), link=f"{DEVICES}/{EUI}", main=RIGHT),
        tried(wwid=EUI),
        Ready,
    ),
    "the same, and it is another object's": (
        BY_EUI,
        replace(seen(designators=BOTH), main=RIGHT),
        others(WWID_KEY),
        Code.CONFLICT,
    ),
    "unnamed, and it is another object's": (
        UNNAMED,
        MADE,
        replace(UNVERIFIED, needed=frozenset({WWID_KEY})),
        Code.CONFLICT,
    ),
    "published, and udev does not know of it": (PLAN, replace(LINKED, kept=False), tried(), PUBLISH),
    "a CD": (PLAN, seen(node="/dev/sr0", kind="CD or DVD drive"), tried(), REMOVE),
    "a tape, removed once": (PLAN, seen(node=None, kind="tape drive"), tried(REMOVE), Code.WRONG_DEVICE),
    "a controller that was there before": (PLAN, CONTROLLER, tried(), Code.WRONG_DEVICE),
}


@pytest.mark.parametrize("case", CASES)
def test_attach(case: str) -> None:
    """Cases 76, 86 and 89."""
    plan, sight, context, next_ = CASES[case]
    assert short(iscsi.decide(Goal.ATTACHED, plan.as_json(), sight, context)) == next_


@pytest.mark.parametrize(
    ("wwid", "trusted", "verified"),
    [(RIGHT, False, True), ("naa.3000000072f1c5ba", False, False), ("naa.3000000072f1c5ba", True, True)],
)
def test_a_locally_assigned_name_is_no_proof_unless_configured(wwid: str, trusted: bool, verified: bool) -> None:
    """Case 89: nobody sees to it that a name of NAA 3 is used only once."""
    sight = seen(LINKED, designators=frozenset({wwid}), sysfs_wwid=wwid)
    sight = replace(sight, link=f"{DEVICES}/{wwid}")
    reached = iscsi.decide(
        Goal.ATTACHED, replace(PLAN, wwid=wwid).as_json(), sight, replace(tried(), trust_local=trusted)
    )
    assert isinstance(reached, Ready) and reached.verified is verified
