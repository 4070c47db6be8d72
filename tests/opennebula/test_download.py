"""`cdmi_downloader`: an object's bytes through the daemon of whichever host has one, proved; and what is refused."""

import asyncio
import base64
import hashlib
import json
from asyncio.subprocess import DEVNULL, PIPE

import aiohttp
import pytest

from tests.cdmi_server.faults import Action, Fault, RequestKind
from tests.opennebula.site import Site

BYTES = hashlib.shake_256(b"an image").digest(700_001)


async def upload(site: Site, path: str, **metadata: str) -> str:
    """A data object on the server. Returns its address, by path."""
    kind = "application/cdmi-object"
    headers = {"X-CDMI-Specification-Version": "1.1.1", "Content-Type": kind, "Accept": kind}
    value = {"valuetransferencoding": "base64", "value": base64.b64encode(BYTES).decode(), "metadata": metadata}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.put(f"{site.server.url}{path}", data=json.dumps(value).encode()) as answer,
    ):
        assert answer.status == 201, await answer.text()
    return f"cdmi://{site.address}/{path}"


async def download(site: Site, *words: str, through: str = "") -> tuple[int, bytes, str]:
    """Run the helper as downloader.sh does. Returns its status, what it printed, and the error."""
    command = [str(site.drivers.remotes / "datastore" / "cdmi_downloader"), *words]
    shell = f'"$@" | {through}' if through else 'exec "$@"'
    process = await asyncio.create_subprocess_exec(
        *("bash", "-o", "pipefail", "-c", shell, "x", *command),
        env={"HOME": str(site.folder), "PATH": site.drivers.path},
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode is not None and err.count(b"\n") <= 1, err
    return process.returncode, out, err.decode()


async def test_an_object_comes_whole(site: Site) -> None:
    source = await upload(site, "images/debian")
    assert await download(site, source) == (0, BYTES, "")
    assert await download(site, "--size", source) == (0, b"700001\n", "")
    assert set(site.logins()) == {"hosta"}, "the front-end has no daemon, the first of BRIDGE_LIST has"
    site.lose("hosta")
    assert await download(site, source) == (0, BYTES, "")


async def test_who_reads_the_beginning_alone_may_go(site: Site) -> None:
    source = await upload(site, "images/debian")
    status, out, error = await download(site, source, through="head -c 1024")
    assert (status, out, error) == (141, BYTES[:1024], "")


async def test_a_lun_comes_whole(site: Site) -> None:
    await site.image("disk")
    status, out, error = await download(site, f"cdmi://{site.address}/images/disk")
    assert (status, error) == (0, "") and len(out) == 1 << 20 and out.startswith(b"naa.6001405")
    assert site.all_gone(), "it was attached for so long"


@pytest.mark.parametrize(
    "fault", [Fault(Action.GARBAGE), Fault(Action.CUT), Fault(Action.STATUS, status=403), Fault(Action.RESET)]
)
async def test_what_is_not_whole_is_no_success(site: Site, fault: Fault) -> None:
    source = await upload(site, "images/debian")
    site.server.faults.set(RequestKind.GET_VALUE, fault)
    status, out, error = await download(site, source)
    assert status == 1 and out != BYTES and error.startswith("cdmi/download: ")
    site.server.faults.clear()


async def test_no_host_to_ask(site: Site) -> None:
    source = await upload(site, "images/debian")
    for host in site.hosts:
        site.lose(host)
    status, out, error = await download(site, source)
    assert (status, out) == (1, b"") and "BRIDGE_LIST" in error


async def test_what_is_not_allowed(site: Site) -> None:
    await upload(site, "vms/secret")
    for source in (
        f"cdmi://{site.address}/vms/secret",
        f"cdmi://{site.address}/images/../vms/secret",
        "cdmi://elsewhere.example/images/debian",
        "http://a/b",
    ):
        status, out, error = await download(site, source)
        assert (status, out) == (1, b"") and error.startswith("cdmi/download: ")


async def test_metadata_that_it_has_to_have(site: Site) -> None:
    conf = site.drivers.remotes / "etc" / "tm" / "cdmi" / "cdmi.conf"
    conf.write_text(f'{conf.read_text()}REQUIRE="opennebula=yes"\n')
    mine, other = await upload(site, "images/mine", opennebula="yes"), await upload(site, "images/other")
    assert (await download(site, mine))[:2] == (0, BYTES)
    status, out, error = await download(site, other)
    assert (status, out) == (1, b"") and "has no metadata opennebula=yes" in error
