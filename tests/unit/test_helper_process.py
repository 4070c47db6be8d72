"""cdmi-attach-helperd as a process: systemd's protocol, its signals, and its death."""

import asyncio
import json
import os
import pwd
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.host.remote import RemoteHost
from agent.notify import notify, watch, watchdog_s
from attachers.problems import Code, Problem
from attachers.sights import IscsiQuery, ScsiSight
from attachers.steps import CreateRecord, DeleteRecord, Login, Scan

USER = pwd.getpwuid(os.geteuid()).pw_name  # whoever runs the tests is the daemon's user
T, P, W = "iqn.2024-01.org.example:one", "127.0.0.1:3260", "naa.6001405000000001"
SAN = {
    "luns": [
        {
            "target": T,
            "portals": [P],
            "lun": 1,
            "wwid": W,
            "size": 1 << 20,
            "initiators": ["iqn.1993-08.org.debian:01:simulated"],
        }
    ]
}


class Systemd:
    """The side of systemd: a notification socket, and what came on it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(str(path))
        self._sock.setblocking(False)

    async def told(self) -> str:
        """The next notification."""
        async with asyncio.timeout(20):
            return (await asyncio.get_running_loop().sock_recv(self._sock, 4096)).decode()

    def close(self) -> None:
        self._sock.close()


@pytest.fixture
async def systemd(tmp_path: Path) -> AsyncIterator[Systemd]:
    systemd = Systemd(tmp_path / "notify")
    yield systemd
    systemd.close()


CONFIG = """[[server]]
url = "https://store.example.org/"
storage_networks = ["127.0.0.0/8"]
user = "one"
password_file = "/nonexistent: that is the daemon's"
"""


def configure(tmp_path: Path, text: str = CONFIG) -> None:
    (tmp_path / "etc").mkdir(exist_ok=True)
    (tmp_path / "etc/config.toml").write_text(text)


async def start(
    tmp_path: Path, systemd: Systemd, *, config: str = CONFIG, **environ: str
) -> asyncio.subprocess.Process:
    (tmp_path / "san.json").write_text(json.dumps(SAN))
    configure(tmp_path, config)
    command = [sys.executable, "-m", "agent.helper.main", "--simulate", str(tmp_path / "san.json")]
    options = ["--socket", str(tmp_path / "sock"), "--user", USER, "--config", str(tmp_path / "etc/config.toml")]
    env = {**os.environ, "NOTIFY_SOCKET": str(systemd.path), **environ}
    process = await asyncio.create_subprocess_exec(*command, *options, env=env)
    assert "READY=1" in await systemd.told()
    return process


async def test_it_serves_and_stops_when_told(tmp_path: Path, systemd: Systemd) -> None:
    process = await start(tmp_path, systemd, WATCHDOG_USEC="200000")
    host = RemoteHost(tmp_path / "sock")
    for step in (CreateRecord(T, P), Login(T, P), Scan("3:0:0:1", T, P)):
        await host.act(step, timeout_s=5)
    sight = await host.observe(IscsiQuery("vm", T, (P,), 1))
    assert isinstance(sight, ScsiSight)
    assert sight.records[0].ours and sight.sessions[0].ours and sight.paths[0].ours
    assert [await systemd.told() for _ in range(3)] == ["WATCHDOG=1"] * 3
    process.terminate()
    while (told := await systemd.told()) == "WATCHDOG=1":
        pass
    assert told == "STOPPING=1"
    assert await asyncio.wait_for(process.wait(), 10) == 0
    with pytest.raises(Problem) as caught:
        await host.observe(IscsiQuery("vm", T, (P,), 1))
    assert caught.value.code is Code.UNAVAILABLE
    await host.close()


async def test_after_its_death_another_takes_its_place(tmp_path: Path, systemd: Systemd) -> None:
    process = await start(tmp_path, systemd)
    host = RemoteHost(tmp_path / "sock")
    await host.act(CreateRecord(T, P), timeout_s=5)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    since = host.changes
    process = await start(tmp_path, systemd)
    await host.changed(since, timeout_s=10)
    sight = await host.observe(IscsiQuery("vm", T, (P,), 1))
    assert sight == ScsiSight()  # a simulated kernel dies with its process
    await host.close()
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_a_changed_configuration_counts_at_once_and_a_wrong_one_changes_nothing(
    tmp_path: Path, systemd: Systemd
) -> None:
    """Also without a reload: whoever writes to it restarts the daemon, not the helper."""
    elsewhere = CONFIG.replace("127.0.0.0/8", "10.0.0.0/8")
    process = await start(tmp_path, systemd, config=elsewhere)
    host = RemoteHost(tmp_path / "sock")
    with pytest.raises(Problem) as caught:
        await host.act(CreateRecord(T, P), timeout_s=5)
    assert caught.value.code is Code.FORBIDDEN and "storage_networks" in caught.value.detail
    configure(tmp_path)
    await host.act(CreateRecord(T, P), timeout_s=5)
    configure(tmp_path, "[[server]]\nurl = 3\n")
    process.send_signal(signal.SIGHUP)
    await host.act(Login(T, P), timeout_s=5)
    await host.close()
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 10) == 0


@pytest.mark.parametrize("config", ["", "[[server]]\nurl = 3\n"])
async def test_without_a_usable_configuration_nothing_is_made_and_what_was_made_can_go(
    tmp_path: Path, systemd: Systemd, config: str
) -> None:
    process = await start(tmp_path, systemd, config=config)
    host = RemoteHost(tmp_path / "sock")
    with pytest.raises(Problem) as caught:
        await host.act(CreateRecord(T, P), timeout_s=5)
    assert caught.value.code in (Code.UNAVAILABLE, Code.FORBIDDEN) and caught.value.hint
    await host.act(DeleteRecord(T, P), timeout_s=5)
    await host.close()
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_a_passed_socket_is_used(tmp_path: Path, systemd: Systemd) -> None:
    """As systemd passes it: descriptor 3, LISTEN_PID set by the process itself."""
    (tmp_path / "san.json").write_text(json.dumps(SAN))
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "passed"))
    sock.listen()
    code = "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid()); os.execv(sys.executable, sys.argv[1:])"
    configure(tmp_path)
    command = [sys.executable, "-m", "agent.helper.main", "--simulate", str(tmp_path / "san.json"), "--user", USER]
    command += ["--config", str(tmp_path / "etc/config.toml")]
    env = {**os.environ, "NOTIFY_SOCKET": str(systemd.path), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "helper"}
    shell = f'exec "$@" 3<&{sock.fileno()}'
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", shell, "bash", sys.executable, "-c", code, *command, env=env, pass_fds=[sock.fileno()]
    )
    assert "READY=1" in await systemd.told()
    host = RemoteHost(tmp_path / "passed")
    await host.act(CreateRecord(T, P), timeout_s=5)
    await host.close()
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 10) == 0
    sock.close()


async def test_a_ledger_that_does_not_answer_keeps_the_watchdog_silent(systemd: Systemd) -> None:
    stopped, sick = asyncio.Event(), asyncio.Event()

    async def check() -> None:
        if sick.is_set():
            raise Problem(Code.UNAVAILABLE, "the disk is gone")

    environ = {"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "40000"}
    watching = asyncio.create_task(watch(stopped, check=check, environ=environ))
    assert await systemd.told() == "WATCHDOG=1"
    sick.set()
    await asyncio.sleep(0.1)
    while True:
        try:
            async with asyncio.timeout(0.2):
                await systemd.told()
        except TimeoutError:
            break
    stopped.set()
    await watching


async def test_abstract_addresses_and_none() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0cdmi-attach-test-{os.getpid()}")
        assert notify("READY=1", "STATUS=x", environ={"NOTIFY_SOCKET": f"@cdmi-attach-test-{os.getpid()}"})
        assert sock.recv(100) == b"READY=1\nSTATUS=x"
    assert not notify("READY=1", environ={})
    assert not notify("READY=1", environ={"NOTIFY_SOCKET": "/nonexistent/x"})


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "x"}, None),
    ],
)
def test_watchdog(environ: dict[str, str], expected: float | None) -> None:
    assert watchdog_s(environ) == expected
