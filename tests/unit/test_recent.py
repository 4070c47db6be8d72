"""A set that does not grow."""

from agent.host.recent import Recent


def test_the_oldest_are_forgotten() -> None:
    noted = Recent(most=3)
    noted.update(["a", "b", "c"])
    noted.update(["a"])  # it is the newest now
    noted.update(["d"])
    assert ["a" in noted, "b" in noted, "c" in noted, "d" in noted] == [True, False, True, True]
    noted.drop(["a", "never"])
    assert "a" not in noted and len(noted) == 2
    noted.update(str(number) for number in range(100_000))
    assert len(noted) == 3 and "99999" in noted
