"""Conversations with servers over real HTTP: what is asked, how it is refused, logins, versions, TLS."""

import asyncio
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web

from agent.cdmi.client import CdmiClient
from agent.cdmi.server import Server, TokenScheme
from agent.cdmi.wire import Limits
from agent.secret import Secret
from attachers.problems import Code, Problem

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
LOCAL = (ipaddress.ip_network("127.0.0.0/8"),)
ENTRY: dict[str, Any] = {
    "portals": ["127.0.0.1"],
    "target_identifier": "iqn.2026-01.org.example:vol1,t,0x0001",
    "logical_unit_number": "1",
    "logical_unit_name": "0x60014050000000000000000000000001",
    "permissions": [],
}
BODY: dict[str, Any] = {
    "objectType": "application/cdmi-container",
    "objectID": "45234",
    "objectName": "vol1/",
    "metadata": {"cdmi_assignedsize": "1048576"},
    "exports": {"Network/iSCSI": ENTRY},
}


@asynccontextmanager
async def serving(handler: Handler, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server whose every request is answered by the handler; its root URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield f"{'https' if tls else 'http'}://localhost:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def at_once(_seconds: float) -> None:
    """A pause where time does not matter."""


@asynccontextmanager
async def client_of(url: str, *, limits: Limits | None = None, **values: Any) -> AsyncIterator[CdmiClient]:
    chosen: dict[str, Any] = {"allow_http": True, "storage_networks": LOCAL} | values
    server = Server(url, **chosen)
    client = CdmiClient([server], protocols=("iscsi",), limits=limits)
    try:
        yield client
    finally:
        await client.close()


async def problem_of(url: str, *, limits: Limits | None = None, **values: Any) -> Problem:
    """What resolving an object of this server comes to, when it cannot be resolved."""
    async with client_of(url, limits=limits, **values) as client:
        with pytest.raises(Problem) as caught:
            await client.resolve(f"{url}cdmi_objectid/45234")
    problem = caught.value
    assert problem.detail.isascii() and problem.detail.isprintable() and len(problem.detail) < 700
    assert problem.hint
    return problem


def answering(body: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return web.Response(body=raw, status=status, headers=headers)

    return answer


def tls_of(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


async def test_a_request_says_what_cdmi_wants_to_hear() -> None:
    seen: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request)
        return web.json_response(BODY)

    async with serving(answer) as url, client_of(url) as client:
        resolved = await client.resolve(f"{url}cdmi_objectid/45234")
    (request,) = seen
    assert (request.method, request.raw_path) == ("GET", "/cdmi_objectid/45234/")
    assert request.headers["X-CDMI-Specification-Version"] == "1.1.1"
    assert request.headers["Accept"] == "application/cdmi-container"
    assert request.headers["Accept-Encoding"] == "identity"
    assert "Authorization" not in request.headers
    assert (resolved.kind, resolved.name, resolved.object_id, resolved.size) == ("container", "vol1", "45234", 1048576)
    assert resolved.uri == f"{url}cdmi_objectid/45234/"
    (export,) = resolved.exports
    assert export.usable and export.plan is not None and export.plan["portals"] == ["127.0.0.1:3260"]


@pytest.mark.parametrize(
    ("values", "header", "wanted"),
    [
        ({"user": "one", "password": Secret("gehéim:")}, "Authorization", "Basic b25lOmdlaMOpaW06"),
        ({"token": Secret("geheim")}, "Authorization", "Bearer geheim"),
        ({"token": Secret("geheim"), "token_scheme": TokenScheme.X_AUTH_TOKEN}, "X-Auth-Token", "geheim"),
    ],
)
async def test_a_login_is_sent_and_never_shown(values: dict[str, Any], header: str, wanted: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.headers.get(header) != wanted:
            return web.Response(status=401)
        return web.json_response({"you said": wanted, "that is": "gehéim: geheim"}, status=500)

    async with serving(answer) as url:
        problem = await problem_of(url, **values)
        assert "answered 500" in problem.detail and "***" in problem.detail
        assert wanted not in problem.detail
        assert ("geh\\u00e9im" if "user" in values else "geheim") not in problem.detail
        assert "answered 401" in (await problem_of(url)).detail


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("values", [{}, {"user": "one", "password": Secret("geheim")}])
async def test_a_refused_login_points_at_the_configuration(status: int, values: dict[str, Any]) -> None:
    async with serving(answering(b"", status=status)) as url:
        problem = await problem_of(url, **values)
    assert (problem.code, problem.status) == (Code.CDMI_REFUSED, 502)
    assert str(status) in problem.detail
    assert "[[server]]" in problem.hint or "configured user" in problem.hint


@pytest.mark.parametrize(
    ("status", "code", "http_status"),
    [
        (404, Code.NOT_FOUND, 404),
        (400, Code.CDMI_REFUSED, 502),
        (406, Code.CDMI_REFUSED, 502),
        (409, Code.CDMI_REFUSED, 502),
        (500, Code.CDMI_REFUSED, 502),
        (503, Code.CDMI_REFUSED, 502),
        (206, Code.CDMI_REFUSED, 502),
        (303, Code.CDMI_REFUSED, 502),
        (307, Code.CDMI_REFUSED, 502),
    ],
)
async def test_a_failure_has_its_status_and_some_words(status: int, code: Code, http_status: int) -> None:
    async with serving(answering("no\x1b[31m\n" + "é" * 5000, status=status)) as url:
        problem = await problem_of(url)
    assert (problem.code, problem.status) == (code, http_status)
    assert f"answered {status}" in problem.detail
    assert len(problem.detail) < 400


# Versions.


async def test_one_version_at_a_time_until_one_is_taken() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.headers["X-CDMI-Specification-Version"])
        return web.json_response(BODY, status=200 if asked[-1] == "1.0.2" else 400)

    async with serving(answer) as url, client_of(url) as client:
        await client.resolve(f"{url}cdmi_objectid/45234")
        await client.resolve(f"{url}cdmi_objectid/45234")
    assert asked == ["1.1.1", "1.1", "1.0.2", "1.0.2"]


@pytest.mark.parametrize(("configured", "sent"), [("1.0.1", "1.0.1"), ("2.0.0", None)])
async def test_a_configured_version_is_the_only_one(configured: str, sent: str | None) -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.headers.get("X-CDMI-Specification-Version") == sent
        return web.json_response(BODY)

    async with serving(answer) as url, client_of(url, spec_version=configured) as client:
        assert (await client.resolve(f"{url}cdmi_objectid/45234")).object_id == "45234"


# TLS.


async def test_tls_with_the_configured_authority(tmp_path: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    other.cert_pem.write_to_path(str(tmp_path / "other.pem"))
    async with serving(answering(BODY), tls=tls_of(authority, "localhost")) as url:
        async with client_of(url, ca_file=str(tmp_path / "ca.pem")) as client:
            assert (await client.resolve(f"{url}cdmi_objectid/45234")).object_id == "45234"
        for ca_file in (str(tmp_path / "other.pem"), None):
            problem = await problem_of(url, ca_file=ca_file)
            assert (problem.code, problem.status) == (Code.CDMI_UNREACHABLE, 502)
            assert "certificate" in problem.detail and "ca_file" in problem.hint
        missing = await problem_of(url, ca_file=str(tmp_path / "missing.pem"))
        assert missing.code is Code.CDMI_UNREACHABLE and "missing.pem" in missing.detail


async def test_the_certificate_has_to_be_the_hosts_and_tls_new_enough(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    old = tls_of(authority, "localhost")
    old.set_ciphers("DEFAULT@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_1
    for context in (tls_of(authority, "elsewhere.example"), old):
        async with serving(answering(BODY), tls=context) as url:
            problem = await problem_of(url, ca_file=str(tmp_path / "ca.pem"))
            assert problem.code is Code.CDMI_UNREACHABLE


async def test_eight_requests_at_a_time() -> None:
    now = most = 0
    turn = asyncio.Condition()

    async def answer(request: web.Request) -> web.Response:
        nonlocal now, most
        async with turn:
            now, most = now + 1, max(most, now + 1)
            turn.notify_all()
            await asyncio.wait_for(turn.wait_for(lambda: most >= 8), 5)
        await request.read()
        now -= 1
        return web.json_response(BODY)

    async with serving(answer) as url, client_of(url) as client:
        await asyncio.gather(*(client.resolve(f"{url}cdmi_objectid/45234") for _ in range(30)))
    assert most == 8


async def test_closing_twice_and_asking_again() -> None:
    async with serving(answering(BODY)) as url, client_of(url) as client:
        await client.close()
        await client.resolve(f"{url}cdmi_objectid/45234")
        await client.close()
        await client.close()
        await client.resolve(f"{url}cdmi_objectid/45234")


# Our own certificate, what is kept, and what is ignored.


def asking_for_certificates(authority: trustme.CA) -> ssl.SSLContext:
    context = tls_of(authority, "localhost")
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


async def test_a_server_may_ask_for_our_certificate(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    ours = authority.issue_cert("one@example.org")
    ours.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    ours.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    ours.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    ca_file, cert, key = (str(tmp_path / name) for name in ("ca.pem", "cert.pem", "key.pem"))
    async with serving(answering(BODY), tls=asking_for_certificates(authority)) as url:
        right: list[Any] = [{"client_cert": cert, "client_key": key}, {"client_cert": str(tmp_path / "both.pem")}]
        for values in right:
            async with client_of(url, ca_file=ca_file, **values) as client:
                assert (await client.resolve(f"{url}cdmi_objectid/45234")).object_id == "45234"
        nobody = await problem_of(url, ca_file=ca_file)
        assert (nobody.code, nobody.status) == (Code.CDMI_UNREACHABLE, 502)
        assert "client_cert_file" in nobody.hint
        in_vain: list[Any] = [{"client_cert": cert}, {"client_cert": cert, "client_key": ca_file}]
        for wrong in in_vain:
            problem = await problem_of(url, ca_file=ca_file, **wrong)
            assert problem.code is Code.CDMI_UNREACHABLE and "client_cert_file" in problem.detail


async def test_a_key_with_a_passphrase_is_refused_and_never_asked_for(tmp_path: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-passout", "pass:geheim", "-subj", "/CN=x"]
    command += ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0
    values: Any = {"client_cert": str(tmp_path / "cert.pem"), "client_key": str(tmp_path / "key.pem")}
    problem = await problem_of("https://localhost:1/", **values)
    assert "cannot be used with its key" in problem.detail


async def test_the_environment_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request)
        return web.json_response(BODY)

    (tmp_path / "netrc").write_text("machine localhost login one password geheim\n")
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with serving(answer) as url, client_of(url) as client:
        await client.resolve(f"{url}cdmi_objectid/45234")
    assert "Authorization" not in asked[0].headers


async def test_cookies_are_not_kept() -> None:
    asked: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request)
        return web.json_response(BODY, headers={"Set-Cookie": "session=1; Path=/"})

    async with serving(answer) as url, client_of(url) as client:
        for _ in range(2):
            await client.resolve(f"{url}cdmi_objectid/45234")
    assert "Cookie" not in asked[1].headers


async def test_a_kept_connection_that_has_ended_costs_no_failure() -> None:
    """The server ends a kept connection at the very moment that it is used again."""
    connections = 0
    raw = json.dumps(BODY).encode()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(raw) + raw)
        await reader.read(1)  # the next request is never answered
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with client_of(url) as client:
        for _ in range(3):
            assert (await client.resolve(f"{url}cdmi_objectid/45234")).object_id == "45234"
    server.close()
    assert connections == 3


async def test_a_connection_is_kept() -> None:
    transports = set()

    async def answer(request: web.Request) -> web.Response:
        transports.add(id(request.transport))
        return web.json_response(BODY)

    async with serving(answer) as url, client_of(url) as client:
        for _ in range(5):
            await client.resolve(f"{url}cdmi_objectid/45234")
    assert len(transports) == 1
