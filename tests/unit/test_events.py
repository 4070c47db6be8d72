"""The ring of events: numbered, bounded, and resumable without loss."""

import asyncio

from agent.events import Events


def whats(events: Events, seq: int, **more: str) -> list[str]:
    return [str(event.get("what", event["kind"])) for event in events.since(seq, **more)]


def test_a_reader_takes_up_where_it_left_off() -> None:
    events = Events(first=1)
    for number in range(5):
        events.tell(f"a{number % 2}", "step-began", what=f"step {number}")
    assert whats(events, 0) == [f"step {number}" for number in range(5)]
    assert whats(events, 3) == ["step 3", "step 4"]
    assert whats(events, 0, attachment="a1") == ["step 1", "step 3"]
    assert whats(events, 5) == []


def test_what_is_not_kept_any_more_is_said() -> None:
    events = Events(kept=3, first=1)
    for number in range(1, 8):
        events.tell("a", "step-began", what=f"step {number}")
    assert whats(events, 0) == ["step 5", "step 6", "step 7"], "a new reader misses nothing"
    assert whats(events, 4) == ["step 5", "step 6", "step 7"]
    assert events.since(2)[0]["kind"] == "gap" and whats(events, 2)[1:] == ["step 5", "step 6", "step 7"]


def test_numbers_grow_over_restarts() -> None:
    before = Events()
    before.tell("a", "phase", phase="attached")
    after = Events()
    after.tell("a", "phase", phase="attached")
    assert after.since(0)[0]["seq"] >= before.since(0)[0]["seq"]


async def test_a_follower_waits_for_the_next_event_and_no_longer_than_it_wants() -> None:
    events = Events(first=1)
    assert events.last == 0 and not await events.later_than(0, timeout_s=0.01)
    asyncio.get_running_loop().call_soon(events.tell, "a", "phase")
    assert await events.later_than(0, timeout_s=5)
    assert events.last == 1 and await events.later_than(0, timeout_s=5)
    assert not await events.later_than(1, timeout_s=0.01)
