"""The wire: every value comes back as it was, and nothing else comes through."""

import asyncio
import json
from typing import Any

import pytest

from agent import wire
from attachers import sights, steps
from attachers.nfs_share import FileId, Share
from attachers.problems import Code, Problem

R, L = "2000020000000011", "2000020000000010"
T, P, W = "iqn.2024-01.org.example:one", "[fd00::1]:3260", "naa.6001405000000001"
SHARE = Share("fd00::1", "/srv", "4.2")
DISK = "naa.6001405" + 25 * "a"
ABLE = (sights.Ability(True, "files only"), sights.Ability(False, "no"))
STEPS: list[steps.Step] = [
    steps.CreateRecord(T, P),
    steps.Login(T, P),
    steps.Scan("3:0:0:1", T, P),
    steps.Publish("vm", "3:0:0:1", W, True, "oneadmin:oneadmin"),
    steps.Unpublish("vm", None),
    steps.Unpublish("vm", W),
    steps.RemoveDevice("3:0:0:1"),
    steps.RemoveDevice("3:0:0:1", W),
    steps.RemoveDevice("3:0:0:1", W, lost=True),
    steps.GiveUp(W),
    steps.Scan("7:0:0:1", R, L),
    steps.Own((R,), 1),
    steps.Disown((R, L), 1),
    steps.Publish("vm", "", W, False, ""),
    steps.AnnounceMap(W, "oneadmin:disk"),
    steps.JoinMap("3:0:0:1", W),
    steps.LeaveMap("3:0:0:1", W),
    steps.ResizeMap(W, 1 << 40),
    steps.RemoveMap(W),
    steps.ForgetMap(W, listed=False),
    steps.Logout(T, P),
    steps.DeleteRecord(T, P),
    steps.Mount(SHARE, "hard,timeo=100", downgrade=True),
    steps.Unmount(SHARE),
    steps.MakeDisk(SHARE, "a/b.img", DISK, 1 << 30, discard=True, pin=FileId("1f:0", 77)),
    steps.GrowDisk(SHARE, "a/b.img", DISK, 1 << 31),
    steps.RemoveDisk(SHARE, DISK),
    steps.WriteOutFile(SHARE, "a/b.img", DISK, FileId("1f:0", 77), lost=True),
    steps.PublishFile("vm", SHARE, "a/b.img"),
    steps.PublishFile("vm", SHARE, "a/b.img", FileId("1f:0", 77)),
    steps.GiveDisk("vm", "one-7", "sda", "scsi", False, "file"),
    steps.TakeDisk("vm", "one-7", "sda"),
    steps.Rescan("3:0:0:1", "naa.6001405000000001"),
    steps.ResizeDisk("vm", "one-7", "sda", 1 << 30),
]
QUERIES: list[sights.Query] = [
    sights.IscsiQuery("vm", T, (P, "10.0.0.1:3260"), 1, W, holders=True),
    sights.IscsiQuery("vm", T, (), 0),
    sights.FcQuery("vm", (R, L), 1, W, holders=True),
    sights.NfsQuery("vm", SHARE, "a/b.img", DISK, holders=True),
    sights.NfsQuery("vm", SHARE, unit=DISK),
    sights.NfsQuery("vm", SHARE, "a/b.img", open_for="rw", number=77),
    sights.DomainQuery("one-7"),
    sights.BlocksQuery(W, 4096, 8192, 4711, 5, 123456),
    sights.HostQuery(),
    sights.HostQuery("storage.0"),
    sights.RouteQuery("fd00::1"),
    sights.RecordQuery(),
]
SIGHTS: list[sights.Sight] = [
    sights.ScsiSight(),
    sights.ScsiSight(
        (sights.Record(T, P, ours=True),),
        (sights.Session(1, 3, T, P, "LOGGED_IN", ("3:0:0:1",), ours=True),),
        (
            sights.ScsiPath(
                "3:0:0:1", P, "/dev/sda", "running", 1 << 40, False, W, frozenset({W, "eui.0011223344556677"})
            ),
            sights.ScsiPath(
                "3:0:0:2", P, None, "running", 0, True, None, inquiry_error="\udcff?", holders=("qemu (7)",)
            ),
        ),
        link="/dev/cdmi-attach/x",
        device_link="/dev/sda",
        owner="a:b",
        busy=("scan 3:0:0:1",),
        map=sights.ScsiMap(
            f"mpath-3{W[4:]}",
            "/dev/dm-0",
            suspended=False,
            size=1 << 40,
            read_only=False,
            queueing=True,
            opens=1,
            paths=(sights.MapPath("3:0:0:1", "/dev/sda", usable=True, size=1 << 40, designators=frozenset({W})),),
            holders=("qemu (7)",),
            ours=True,
        ),
        notes=sights.MapNotes(announced=True, listed=False, ours=True),
    ),
    sights.ScsiSight(
        sessions=(sights.Session(0, 7, R, L, "Blocked", ("7:0:2:1",), channel=0, target_id=2),),
        ports=(sights.FcPort(L, 7, "Online", ("20:00:02:00:00:00:00:11 Online (FCP Target)",)),),
        owned=(R,),
    ),
    sights.DomainSight(True, False, (sights.DomainDisk("sda", "/x"),)),
    sights.DomainSight(True, True, runs=True),
    sights.BlocksSight(8192),
    sights.RecordSight(
        (sights.Made("device", T, P, "3:0:0:1"), sights.Made("link", name="vm", wwid=W)),
        (sights.Dead("disk", "/dev/sda", "the kernel says offline", "3:0:0:2", used=True),),
        more=7,
    ),
    sights.RouteSight("10.0.0.2", "eth0", "10.0.0.254"),
    sights.HostSight("h", T, ("2000000000000001",), *ABLE, "6.1", "b", 2, *ABLE),
    sights.NfsSight(
        (sights.NfsMount(41, "10.0.0.1:/srv", "nfs4", "rw,nodev,vers=4.2", ours=True),),
        sights.NfsFile(1 << 30, 77, sights.Trouble.STALE, "is stale", ("qemu (pid 7)",)),
        sights.FileDisk("/run/cdmi-attach/mnt/x/a", 77, 1 << 30, whole=True),
        sights.ScsiSight(link="/dev/cdmi-attach/x"),
    ),
]


def again(value: Any) -> Any:
    return json.loads(json.dumps(wire.encode(value)))


@pytest.mark.parametrize("step", STEPS)
def test_steps_come_back(step: steps.Step) -> None:
    assert wire.decode_step(again(step)) == step


@pytest.mark.parametrize("query", QUERIES)
def test_queries_come_back(query: sights.Query) -> None:
    assert wire.decode_query(again(query)) == query


@pytest.mark.parametrize("sight", SIGHTS)
def test_sights_come_back(sight: sights.Sight) -> None:
    assert wire.decode_sight(again(sight)) == sight


def test_nothing_is_forgotten_here() -> None:
    assert {type(step) for step in STEPS} == set(steps.STEPS)
    assert {type(query) for query in QUERIES} == set(sights.QUERIES)
    assert {type(sight) for sight in SIGHTS} == set(sights.SIGHTS)


def test_problems_come_back() -> None:
    problem = Problem(Code.IN_USE, "sda is open", hint="close it", step="remove 3:0:0:1", status=418)
    assert wire.decode_problem(again(problem)).as_dict() == problem.as_dict()


LOGIN = {"type": "Login", "target": T, "portal": P, "chap": "", "iface": ""}
QUERY = {"type": "IscsiQuery", "name": "vm", "target": T, "portals": [P], "lun": 1, "wwid": None, "holders": False}
QUERY |= {"read": False}


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (None, "value: NoneType"),
        ([], "value: list"),
        ({}, "value.type"),
        ({"type": ["Login"]}, "value.type"),
        ({"type": "IscsiQuery"}, "value.type"),
        ({"type": "__class__"}, "value.type"),
        ({"type": "DeleteRecord", "target": T}, "value.portal: is missing"),
        (LOGIN | {"extra": 1}, "value.extra: is not known"),
        (LOGIN | {"\nforged": 1}, r"value.\\nforged"),
        (LOGIN | {"portal": 7}, "value.portal: int instead of str"),
        (LOGIN | {"portal": None}, "value.portal: NoneType"),
        (wire.encode(STEPS[3]) | {"read_only": 1}, "value.read_only: int"),
    ],
)
def test_malformed_steps_name_the_place(value: object, place: str) -> None:
    with pytest.raises(Problem, match=place) as caught:
        wire.decode_step(value)
    assert caught.value.code is Code.BAD_REQUEST


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"lun": True}, "value.lun: bool instead of int"),
        ({"lun": 1.0}, "value.lun: float"),
        ({"lun": "1"}, "value.lun: str"),
        ({"portals": P}, "value.portals: str"),
        ({"portals": [P, 1]}, r"value.portals\[1\]: int"),
        ({"wwid": 0}, "value.wwid: int"),
        ({"holders": "no"}, "value.holders: str"),
    ],
)
def test_malformed_queries_name_the_place(change: dict[str, Any], place: str) -> None:
    with pytest.raises(Problem, match=place):
        wire.decode_query(QUERY | change)


@pytest.mark.parametrize(
    "change", [{"portal": "example.org:3260"}, {"portal": "-p"}, {"target": "iqn.2024-01.org.x:../../etc"}]
)
def test_what_a_step_may_not_be_is_refused_here_too(change: dict[str, Any]) -> None:
    with pytest.raises(Problem) as caught:
        wire.decode_step(LOGIN | change)
    assert caught.value.code is Code.INVALID_REQUEST


def test_numbers_that_are_no_sizes() -> None:
    sight = wire.encode(SIGHTS[1])
    sight["paths"][0]["size"] = 1.5
    with pytest.raises(Problem, match=r"value.paths\[0\].size: float"):
        wire.decode_sight(sight)


def test_a_problem_with_an_unknown_code_is_refused() -> None:
    with pytest.raises(Problem, match=r"problem\.code"):
        wire.decode_problem(wire.encode(Problem(Code.BUSY, "x")) | {"code": "odd"})


@pytest.mark.parametrize(
    "body", [b"", b"7", b"[]", b'{"a":1,"a":2}', b'{"a":NaN}', b"\xff", b'{"a":' * 100_000, b'{"a":1} x', b"9" * 5000]
)
def test_frames_that_are_no_messages(body: bytes) -> None:
    with pytest.raises(Problem) as caught:
        wire.parse(body)
    assert caught.value.code is Code.BAD_REQUEST


async def test_frames_on_a_stream() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(wire.pack({"id": 1}) + wire.pack({"id": 2}) + b"\x00\x00")
    reader.feed_eof()
    assert [await wire.read_frame(reader) for _ in range(3)] == [{"id": 1}, {"id": 2}, None]


async def test_frames_that_are_too_long() -> None:
    with pytest.raises(Problem):
        wire.pack({"a": "x" * wire.MAX_FRAME})
    reader = asyncio.StreamReader()
    reader.feed_data(b"\x7f\xff\xff\xff")
    with pytest.raises(Problem) as caught:
        await wire.read_frame(reader)
    assert caught.value.code is Code.TOO_LARGE


BLOCKS = {"type": "BlocksQuery", "wwid": W, "first": 0, "count": 4096, "pid": 1, "fd": 1, "inode": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"wwid": "../sda"},
        {"first": 1},
        {"first": -4096},
        {"count": 4097},
        {"count": (16 << 20) + 4096},
        {"pid": -1},
        {"fd": 1 << 31},
        {"inode": -1},
    ],
)
def test_parts_of_disks_that_cannot_be_asked_for(change: dict[str, object]) -> None:
    assert isinstance(wire.decode_query(BLOCKS), sights.BlocksQuery)
    with pytest.raises(Problem, match=next(iter(change))) as caught:
        wire.decode_query(BLOCKS | change)
    assert caught.value.code in (Code.INVALID_REQUEST, Code.BAD_REQUEST) and caught.value.hint
