"""The daemon as a process, on a simulated host: it starts, answers, reloads, keeps what it has, and stops."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from tests.cdmi_server.runner import running_server

DAEMON = (sys.executable, "-m", "agent.daemon")


def configure(folder: Path, url: str, more: str = "") -> Path:
    path = folder / "config.toml"
    path.write_text(
        f'[[server]]\nurl = "{url}"\nallow_http = true\nstorage_networks = ["127.0.0.0/8"]\n{more}', encoding="utf-8"
    )
    return path


@asynccontextmanager
async def daemon(folder: Path, config: Path, san: Path) -> AsyncIterator[tuple[Process, aiohttp.ClientSession]]:
    """A running daemon, and a caller on its socket; ended by SIGTERM, with status 0."""
    (folder / "state").mkdir(exist_ok=True)
    socket = folder / "control.sock"
    words = ("--config", config, "--socket", socket, "--state", folder / "state", "--simulate", san)
    process = await asyncio.create_subprocess_exec(*DAEMON, *map(str, words), stderr=asyncio.subprocess.PIPE)
    await said(process, "serving")
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as caller:
        yield process, caller
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(20):
        await said(process, "stopping; every attachment stays as it is")
        assert await process.wait() == 0


async def said(process: Process, word: str) -> str:
    """Wait for a line of the log."""
    assert process.stderr
    async with asyncio.timeout(20):
        while line := (await process.stderr.readline()).decode():
            if word in line:
                return line
    raise AssertionError(f"it never said: {word}")


async def get(caller: aiohttp.ClientSession, path: str) -> str:
    async with caller.get(f"http://localhost{path}") as answer:
        assert answer.status == 200, await answer.text()
        return await answer.text()


async def test_it_attaches_reloads_restarts_and_stops(tmp_path: Path) -> None:
    async with running_server(tmp_path / "server", targets="simulated", tls=False) as server:
        headers = {"X-CDMI-Specification-Version": "1.1.1", "Content-Type": "application/cdmi-container"}
        body = {"metadata": {"cdmi_assignedsize": "1048576"}, "exports": {"Network/iSCSI": {"permissions": []}}}
        async with (
            aiohttp.ClientSession(headers=headers) as client,
            client.put(f"{server.url}vol1/", data=json.dumps(body)) as made,
        ):
            object_id = json.loads(await made.text())["objectID"]
        source = f"{server.url}cdmi_objectid/{object_id}"
        config, san = configure(tmp_path, server.url), server.state / "san.json"
        async with daemon(tmp_path, config, san) as (process, caller):
            async with caller.put("http://localhost/v1/attachments/one", json={"source": source}) as answer:
                assert answer.status == 201, await answer.text()
            configure(tmp_path, server.url, "[attach]\ncolour = 1\n")
            process.send_signal(signal.SIGHUP)
            line = await said(process, "the configuration was not reloaded")
            assert "attach.colour" in line and "config.toml:6" in line
            configure(tmp_path, server.url)
            process.send_signal(signal.SIGHUP)
            await said(process, "the configuration was reloaded")
            assert json.loads(await get(caller, "/healthz"))["ok"]
            metrics = await get(caller, "/metrics")
            assert 'cdmi_attach_operations_total{kind="attach",protocol="iscsi",result="ok"} 1.0' in metrics
            assert 'cdmi_attach_attachments{phase="attached"} 1.0' in metrics
            assert f'server="{server.url}"' in metrics
        async with daemon(tmp_path, config, san) as (process, caller):
            async with caller.put("http://localhost/v1/attachments/one", json={"source": source}) as answer:
                assert answer.status == 200, "brought back after a restart of the (simulated) host"
            async with caller.delete("http://localhost/v1/attachments/one") as answer:
                assert answer.status == 204


async def test_a_configuration_is_checked_and_shown(tmp_path: Path) -> None:
    config = configure(tmp_path, "http://127.0.0.1:1/", "[nfs]\noptoins = 'soft'\n")
    for option, status in (("--check-config", 1), ("--show-config", 1)):
        process = await asyncio.create_subprocess_exec(
            *DAEMON, "--config", str(config), option, stderr=asyncio.subprocess.PIPE
        )
        _, errors = await process.communicate()
        assert process.returncode == status and b"optoins" in errors and b":6" in errors
    configure(tmp_path, "http://127.0.0.1:1/")
    process = await asyncio.create_subprocess_exec(
        *DAEMON, "--config", str(config), "--show-config", stdout=asyncio.subprocess.PIPE
    )
    shown, _ = await process.communicate()
    assert process.returncode == 0 and b"http://127.0.0.1:1/" in shown
