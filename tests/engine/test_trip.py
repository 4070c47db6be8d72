"""Which points of a scene each way to die takes."""

from collections.abc import Sequence

import pytest

from tests.engine.trip import DIES, FOLLOW_UPS, share_of


@pytest.mark.parametrize(
    ("dies", "after", "by"),
    [(DIES[:2], FOLLOW_UPS[:2], 4), (DIES[2:], FOLLOW_UPS[:2], 2), (DIES, ["undo"], 3), (DIES, ["rest"], 3)],
)
def test_the_ways_to_die_leave_no_point_out(dies: Sequence[str], after: Sequence[str], by: int) -> None:
    shares = [share_of(101, one, dies=die, stride=1, shared_by=by) for die in dies for one in after]
    assert {at for share in shares for at in share} == set(range(1, 102))
