"""Who may call: the kernel says who it is, one gate decides, and every route is behind it."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from agent.api.app import create_app
from agent.api.peer import Gate, Peer, peer_of_socket
from agent.api.routes import NOW, ROUTES
from agent.api.serve import serve
from attachers.problems import Problem
from tests.api.engine import FakeEngine

NOBODY = Peer(pid=1, uid=65534, gid=65534, groups=frozenset({65534}))
MEMBER = Peer(pid=1, uid=65534, gid=65534, groups=frozenset({4242}))
PRIMARY = Peer(pid=1, uid=65534, gid=4242)


def as_peer(peer: Peer | None, engine: FakeEngine | None = None) -> Any:
    """A client that the daemon takes for this peer."""
    app = create_app(engine or FakeEngine(), group_gid=4242, peer_of=lambda request: peer)
    return TestClient(TestServer(app))


@pytest.mark.parametrize("peer", [NOBODY, None])
async def test_every_route_refuses_nobody(peer: Peer | None) -> None:
    async with as_peer(peer) as client:
        for route in ROUTES:
            path = route.path.format(name="n", domain="d", id="i") if "{" in route.path else route.path
            answer = await client.request(route.method, path)
            assert (answer.status, (await answer.json())["code"]) == (403, "forbidden"), route
        for method, path in (("GET", "/"), ("GET", "/nothing"), ("TRACE", "/v1/host"), ("POST", "/healthz")):
            assert (await client.request(method, path)).status == 403


@pytest.mark.parametrize("peer", [MEMBER, PRIMARY])
async def test_every_route_answers_a_member(peer: Peer) -> None:
    async with as_peer(peer) as client:
        for route in ROUTES:
            path = route.path.format(name="n", domain="d", id="i") if "{" in route.path else route.path
            answer = await client.request(route.method, path)
            assert (answer.status == 501) == (route.op not in NOW), route
            if answer.status == 501:
                assert (await answer.json())["code"] == "unsupported-on-host"


async def test_the_refusal_names_the_group_and_the_remedy() -> None:
    async with as_peer(NOBODY) as client:
        problem = await (await client.get("/v1/host")).json()
    assert "user 65534" in problem["detail"] and "group 4242" in problem["detail"]
    assert "usermod -aG 4242" in problem["hint"]


def test_without_a_group_only_the_named_users_pass() -> None:
    gate = Gate(frozenset({0}), None)
    assert gate.check(Peer(1, 0, 0)).uid == 0
    with pytest.raises(Problem, match="only root may"):
        gate.check(Peer(1, 1000, 0, frozenset({0})))


def test_the_kernel_tells_the_peer() -> None:
    here, there = socket.socketpair(socket.AF_UNIX)
    with here, there:
        peer = peer_of_socket(here)
    assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.getuid(), os.getgid())
    assert peer.groups == frozenset(os.getgroups())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
@pytest.mark.parametrize(
    ("uid", "groups", "status"),
    [(65534, (), 403), (65534, (4242,), 200), (65534, (1, 2, 4242, 7), 200), (0, (), 200), (1234, (4243,), 403)],
)
async def test_real_processes_at_the_real_socket(
    tmp_path: Path, uid: int, groups: tuple[int, ...], status: int
) -> None:
    path = _reachable(tmp_path) / "control.sock"
    runner = await serve(create_app(FakeEngine(), group_gid=4242), path, group_gid=None, environ={})
    path.chmod(0o666)  # the gate has to hold alone
    code = (
        "import http.client, socket, sys\n"
        "c = http.client.HTTPConnection('localhost')\n"
        "c.sock = socket.socket(socket.AF_UNIX)\n"
        "c.sock.connect(sys.argv[1])\n"
        "c.request('GET', '/healthz')\n"
        "print(c.getresponse().status)\n"
    )
    child = await _run(code, path, uid, groups)
    await runner.cleanup()
    assert child == str(status)


async def _run(code: str, path: Path, uid: int, groups: tuple[int, ...]) -> str:
    child = await asyncio.create_subprocess_exec(
        "/usr/bin/python3", "-c", code, str(path), user=uid, group=uid, extra_groups=groups, stdout=subprocess.PIPE
    )
    out, _ = await child.communicate()
    return out.decode().strip()


def _reachable(path: Path) -> Path:
    """A directory that others may pass through: those of pytest and its processes are 0700."""
    for parent in (path, *path.parents):
        if parent.stat().st_uid == os.geteuid() and parent.name.startswith(("test_", "popen-", "pytest-")):
            parent.chmod(0o711)
    return path


async def test_the_socket_is_closed_to_others_from_its_first_moment(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    runner = await serve(create_app(FakeEngine(), group_gid=None), path, group_gid=os.getgid(), environ={})
    assert path.stat().st_mode & 0o777 == 0o660
    with pytest.raises(OSError, match="another process listens here"):
        await serve(create_app(FakeEngine(), group_gid=None), path, group_gid=None, environ={})
    await runner.cleanup()
    assert not path.exists()


async def test_a_socket_that_nobody_listens_on_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    runner = await serve(create_app(FakeEngine(), group_gid=None), path, group_gid=None, environ={})
    await runner.cleanup()


def test_a_socket_of_systemd_is_used_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    code = (
        "import asyncio, os, sys\n"
        "os.environ['LISTEN_PID'] = str(os.getpid())\n"
        "os.dup2(int(sys.argv[2]), 103), os.dup2(int(sys.argv[3]), 104), os.dup2(103, 3), os.dup2(104, 4)\n"
        "from pathlib import Path\n"
        "from agent.api.app import create_app\n"
        "from agent.api.serve import serve\n"
        "from tests.api.engine import FakeEngine\n"
        "import aiohttp\n"
        "async def main():\n"
        "    runner = await serve(create_app(FakeEngine(), group_gid=None), Path('/nonexistent'), group_gid=None)\n"
        "    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(sys.argv[1])) as session:\n"
        "        print((await session.get('http://localhost/healthz')).status)\n"
        "    await runner.cleanup()\n"
        "asyncio.run(main())\n"
    )
    with socket.socket(socket.AF_UNIX) as control, socket.socket(socket.AF_UNIX) as other:
        control.bind(str(path))
        control.listen()
        other.bind(str(tmp_path / "other.sock"))
        result = subprocess.run(
            [sys.executable, "-c", code, str(path), str(other.fileno()), str(control.fileno())],
            pass_fds=(other.fileno(), control.fileno()),
            env=os.environ | {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "other:api"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert (result.stdout.strip(), result.stderr) == ("200", "")
    assert path.is_socket()
