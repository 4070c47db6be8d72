"""The record of what was created, in memory: rows are found by any of their names, for as long as they are there."""

from pathlib import Path

from agent.host.created import Created, Kind, Row, Thing, open_created

RECORD = Thing(Kind.RECORD, "iqn.2026-01.org.example:a", "127.0.0.1:3260")
LINK = Thing(Kind.LINK, name="one-42", wwid="naa.6001")
LISTED = Thing(Kind.LISTED, wwid="naa.6001")


def found(created: Created, *names: str | None) -> set[Thing]:
    return {row.thing for row in created.named(*names)}


async def test_a_row_is_found_by_each_of_its_names_and_by_no_other(tmp_path: Path) -> None:
    created = open_created(tmp_path / "created.sqlite", inline=True)
    await created.put(*(Row(thing, "boot", 1.0) for thing in (RECORD, LINK, LISTED)))
    assert found(created, RECORD.target) == {RECORD}
    assert found(created, "one-42") == {LINK}
    assert found(created, "naa.6001") == {LINK, LISTED}
    assert found(created, "one-42", "naa.6001", RECORD.target) == {RECORD, LINK, LISTED}
    assert found(created, "", None, "127.0.0.1:3260") == set(), "a portal is shared by too many"
    await created.change(drop=[LINK])
    assert found(created, "one-42", "naa.6001") == {LISTED}
    created.close()


async def test_rows_read_from_the_disk_are_found_as_well(tmp_path: Path) -> None:
    created = open_created(tmp_path / "created.sqlite", inline=True)
    await created.put(Row(LINK, "boot", 1.0))
    created.close()
    created = open_created(tmp_path / "created.sqlite", inline=True)
    assert found(created, "one-42") == found(created, "naa.6001") == {LINK}
    created.close()


async def test_a_row_that_the_disk_refused_is_not_found(tmp_path: Path) -> None:
    created = open_created(tmp_path / "created.sqlite", inline=True)
    await created.put(Row(LINK, "boot", 1.0))
    created.close()
    try:
        await created.put(Row(RECORD, "boot", 2.0))
    except Exception:
        assert found(created, RECORD.target) == set()
    else:
        raise AssertionError("a closed store takes rows")
