"""multipathd's socket, spoken with a fake that answers as it does: in pieces, late, never, or with nonsense."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.host.multipathd import REPLY_BYTES, Known, Multipathd
from agent.host.roots import Roots
from attachers.problems import Code, Problem
from tests.unit.linux_tree import roots_in

Answer = Callable[[asyncio.StreamWriter, str], Awaitable[None]]


def frame(text: str) -> bytes:
    data = text.encode() + b"\0"
    return struct.pack("@N", len(data)) + data


def saying(reply: str) -> Answer:
    async def answer(writer: asyncio.StreamWriter, _: str) -> None:
        writer.write(frame(reply))

    return answer


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    return roots_in(tmp_path)


@asynccontextmanager
async def daemon(roots: Roots, answer: Answer) -> AsyncIterator[list[str]]:
    """A multipathd of its newer versions, with a socket in the file system; yields what it was asked."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack("@N", await reader.readexactly(struct.calcsize("@N")))
        text = (await reader.readexactly(length)).decode()
        assert text[-1] == "\0"
        asked.append(text[:-1])
        await answer(writer, text[:-1])
        writer.close()

    server = await asyncio.start_unix_server(serve, roots.run / "multipathd.socket")
    async with server:
        yield asked


async def test_what_it_is_asked_and_never_to_reconfigure(roots: Roots) -> None:
    """Case 50."""
    multipathd = Multipathd(roots)
    async with daemon(roots, saying("ok\n")) as asked:
        await multipathd.add_path("sda")
        await multipathd.add_map("36001")
        await multipathd.resize_map("mpatha")
        await multipathd.disable_queueing("mpatha")
        await multipathd.restore_queueing("mpatha")
        await multipathd.del_path("sda")
        await multipathd.del_map("mpatha")
    assert asked == [
        "add path sda",
        "add map 36001",
        "resize map mpatha",
        "disablequeueing map mpatha",
        "restorequeueing map mpatha",
        "del path sda",
        "del map mpatha",
    ]


async def test_the_paths_that_it_knows(roots: Roots) -> None:
    async with daemon(roots, saying("sda 36001\nsdb 36002\n\n")):
        assert await Multipathd(roots).paths() == (Known("sda", "36001"), Known("sdb", "36002"))
    async with daemon(roots, saying("ok\n")):
        assert await Multipathd(roots).paths() == (), "so it says that there are none"


async def test_a_reply_in_pieces_is_read_to_its_end(roots: Roots) -> None:
    lines = "".join(f"sd{number} 3600{number}\n" for number in range(5000))

    async def answer(writer: asyncio.StreamWriter, _: str) -> None:
        data = frame(lines)
        for place in range(0, len(data), 997):
            writer.write(data[place : place + 997])
            await writer.drain()

    async with daemon(roots, answer):
        assert len(await Multipathd(roots).paths()) == 5000


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("fail\n", Code.UNAVAILABLE),
        ("timeout\n", Code.UNAVAILABLE),
        ("permission deny: need to be root\n", Code.UNAVAILABLE),
        ("blacklisted\nok\n", Code.UNSUPPORTED_ON_HOST),
        ("blacklisted\n", Code.UNSUPPORTED_ON_HOST),
        ("multipath-tools v0.9.4\nCLI commands reference:\n", Code.UNAVAILABLE),
        ("", Code.UNAVAILABLE),
    ],
)
async def test_what_is_no_ok_is_a_refusal(roots: Roots, reply: str, code: Code) -> None:
    async with daemon(roots, saying(reply)):
        with pytest.raises(Problem) as caught:
            await Multipathd(roots).add_path("sda")
        assert caught.value.code is code and "add path sda" in caught.value.detail


@pytest.mark.parametrize("data", [b"", b"\x05", struct.pack("@N", 9) + b"ok", struct.pack("@N", 0)])
async def test_a_broken_reply(roots: Roots, data: bytes) -> None:
    async def answer(writer: asyncio.StreamWriter, _: str) -> None:
        writer.write(data)

    async with daemon(roots, answer):
        with pytest.raises(Problem) as caught:
            await Multipathd(roots).paths()
        assert caught.value.code is Code.UNAVAILABLE


async def test_a_reply_without_measure_is_not_read(roots: Roots) -> None:
    async def answer(writer: asyncio.StreamWriter, _: str) -> None:
        writer.write(struct.pack("@N", REPLY_BYTES + 1))

    async with daemon(roots, answer):
        with pytest.raises(Problem, match=str(REPLY_BYTES + 1)):
            await Multipathd(roots).paths()


async def test_one_that_does_not_answer_holds_up_nobody(roots: Roots) -> None:
    silent = asyncio.Event()

    async def answer(_: asyncio.StreamWriter, __: str) -> None:
        await silent.wait()

    async with daemon(roots, answer):
        with pytest.raises(Problem, match="no answer"):
            await Multipathd(roots).ask("show maps json", timeout_s=0.05)
        silent.set()


async def test_whether_it_runs(roots: Roots) -> None:
    multipathd = Multipathd(roots)
    assert "systemctl enable --now multipathd" in multipathd.missing()
    (roots.proc / "net").mkdir()
    unix = roots.proc / "net/unix"
    unix.write_text("0: 00000002 00000000 00010000 0001 01 12 @/org/kernel/linux/storage/multipathd\n")
    assert multipathd.missing() == ""
    unix.write_text("0: 00000002 00000000 00010000 0001 01 12 @/org/kernel/linux/storage/other\n")
    assert multipathd.missing()
    (roots.run / "multipathd.socket").touch()
    assert multipathd.missing() == ""
    with pytest.raises(Problem):
        await multipathd.paths()


async def test_nobody_else_is_taken_for_it(roots: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its old socket has an abstract name, at which any user may listen while it does not run."""
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        everything = await reader.read()
        writer.close()
        await writer.wait_closed()
        heard.set_result(everything)

    monkeypatch.setattr("agent.host.multipathd._uid_of", lambda _: 4711)
    async with await asyncio.start_unix_server(listen, roots.run / "multipathd.socket"):
        with pytest.raises(Problem, match="uid 4711 listens in its place") as caught:
            await Multipathd(roots).del_path("sda")
        assert await heard == b""
    assert caught.value.code is Code.UNAVAILABLE
