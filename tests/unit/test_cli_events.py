"""Events on the command line, against a scripted daemon: taken up again, polled, shown while an attach waits."""

import contextlib
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.cli.main import main

ROOT = Path(__file__).parents[2]
WAIT_S = 10.0
UNSUPPORTED = {"status": 501, "code": "unsupported-on-host", "detail": "not in this version", "hint": "wait"}


def event(seq: int, **fields: Any) -> dict[str, Any]:
    """An event as the daemon tells it."""
    return {"seq": seq, "at": f"2999-01-01T00:00:00.{seq:03}Z", "attachment": "a", "kind": "step-ended", **fields}


def answer(value: Any, status: int = 200) -> bytes:
    """A whole answer."""
    body = json.dumps(value).encode()
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def stream(*events: dict[str, Any], ended: bool = True) -> bytes:
    """A stream of events in chunks that know nothing of lines."""
    body = b"".join(json.dumps(one).encode() + b"\n" for one in events)
    pieces = [body[at : at + 11] for at in range(0, len(body), 11)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + (b"0\r\n\r\n" if ended else b"")


@dataclass
class Daemon:
    """Answers each request as its script says, by a part of the request line; what has no end stays open."""

    path: Path
    scripts: dict[str, list[bytes]]
    asked: list[str] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)
    _open: list[socket.socket] = field(default_factory=list)

    def serve(self, listener: socket.socket) -> None:
        """Until the listener is shut down."""
        while True:
            try:
                here, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(here,), daemon=True).start()

    def _answer(self, here: socket.socket) -> None:
        line = here.recv(65536).split(b"\r\n")[0].decode()
        self.asked.append(line)
        script = next(texts for part, texts in self.scripts.items() if part in line)
        text = script.pop(0) if len(script) > 1 else script[0]
        if line.startswith("PUT"):
            self.hold.wait(WAIT_S)
        with contextlib.suppress(OSError):
            here.sendall(text)
        if b"chunked" in text and not text.endswith(b"0\r\n\r\n"):
            self._open.append(here)
        else:
            here.close()

    def close(self) -> None:
        """Let everybody go."""
        self.hold.set()
        for one in self._open:
            one.close()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(tmp_path / "control.sock", {})
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(made.path))
        listener.listen()
        thread = threading.Thread(target=made.serve, args=(listener,))
        thread.start()
        yield made
        made.close()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(WAIT_S)


def run(daemon: Daemon, *words: str) -> int:
    return main(["--socket", str(daemon.path), *words])


def test_events_are_lines(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    told = (
        event(1, kind="phase", phase="attaching"),
        event(2, kind="step-began", what="log in to iqn.x at 10.0.0.1:3260"),
        event(3, what="log in to iqn.x at 10.0.0.1:3260", took_ms=1234),
        event(4, what="scan", took_ms=5, problem="no\x1b[2J"),
        {"seq": 5, "at": "2999", "attachment": "", "kind": "gap", "what": "events are missing"},
    )
    daemon.scripts["/v1/events?since=0&follow=0 "] = [stream(*told)]
    assert run(daemon, "events", "--no-follow") == 0
    assert capsys.readouterr().out.splitlines() == [
        "00:00:00.001  a  = attaching",
        "00:00:00.002  a  > log in to iqn.x at 10.0.0.1:3260",
        "00:00:00.003  a  + log in to iqn.x at 10.0.0.1:3260 (1.23 s)",
        "00:00:00.004  a  x scan (5 ms): no\\x1b[2J",
        "              -  ! events are missing",
    ]
    assert run(daemon, "events", "--no-follow", "--json") == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == list(told)


def test_a_broken_stream_is_taken_up_where_it_broke(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    cut = stream(event(1), event(2))[:-30]  # within an event, without an end
    daemon.scripts["/v1/attachments/a/events"] = [cut.replace(b"chunked", b"CHUNKED"), stream(event(2)), stream()]
    assert run(daemon, "events", "a", "--json") == 3
    assert [json.loads(line)["seq"] for line in capsys.readouterr().out.splitlines()] == [1, 2]
    since = [re.findall(r"since=(\d+)", line) for line in daemon.asked]
    assert since[:3] == [["0"], ["1"], ["2"]]


def test_a_daemon_without_events_is_asked_for_steps(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    steps = [{"at": "2026-01-01T00:00:00.000Z", "took_ms": 41, "what": "log in"}]
    daemon.scripts["/events"] = [answer(UNSUPPORTED, 501)]
    daemon.scripts["/v1/attachments"] = [answer({"attachments": [{"name": "a", "steps": steps}]})]
    assert run(daemon, "events", "--no-follow") == 0
    assert capsys.readouterr().out == "00:00:00.000  a  + log in (41 ms)\n"


VIEW = {"name": "a", "phase": "attached", "protocol": "iscsi", "link": "/l", "device": {"node": "/dev/sda", "size": 1}}


def spawned(daemon: Daemon, words: Sequence[str], **streams: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "agent.cli.main", "--socket", str(daemon.path), *words]
    return subprocess.Popen(command, cwd=ROOT, **streams)


@pytest.mark.parametrize("tells", [True, False], ids=["events", "no-events"])
def test_watch_shows_what_changes(daemon: Daemon, tells: bool) -> None:
    daemon.scripts["/v1/events"] = [stream(event(1), ended=False) if tells else answer(UNSUPPORTED, 501)]
    other = {**VIEW, "phase": "detaching"}
    daemon.scripts["/v1/attachments"] = [answer({"attachments": [VIEW]}), answer({"attachments": [other]})]
    with spawned(daemon, ["status", "--watch"], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(4)]
        assert lines[0] == lines[2] and b"attached" in lines[1] and b"detaching" in lines[3]
        child.send_signal(signal.SIGINT)
        assert child.wait(WAIT_S) == 0


def test_a_terminal_shows_the_step_while_an_attach_waits(daemon: Daemon) -> None:
    told = stream(event(1, attachment="b", what="of another"), event(2, kind="step-began", what="log in"), ended=False)
    daemon.scripts = {"/v1/events": [told], "PUT": [answer({**VIEW, "verified": True})]}
    ours, theirs = pty.openpty()
    with spawned(daemon, ["attach", "S", "--name", "a"], stdout=subprocess.PIPE, stderr=theirs) as child:
        os.close(theirs)
        shown = read_until(ours, b"a: log in ")
        daemon.hold.set()
        assert child.stdout is not None and child.stdout.read() == b"/l\n"
        assert child.wait(WAIT_S) == 0
    shown += read_until(ours, b"verified\r\n")
    os.close(ours)
    assert b"another" not in shown
    assert shown.split(b"\r\x1b[K")[-1] == b"cdmi-attach: a: attached, by iscsi, 1 B, verified\r\n"


def read_until(end: int, wanted: bytes) -> bytes:
    """What comes out of a terminal, until it has `wanted` in it."""
    said, deadline = b"", time.monotonic() + WAIT_S
    while wanted not in said:
        assert select.select([end], [], [], max(deadline - time.monotonic(), 0))[0], said
        said += os.read(end, 4096)
    return said
