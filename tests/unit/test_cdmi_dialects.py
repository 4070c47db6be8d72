"""How servers of each version are spoken to, and how the one that works is found and remembered."""

from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from agent.cdmi.dialects import FIRST, SNIAS_OWN, V1_0, V2_0, VERSION_HEADER, Dialect, dialects_of
from agent.cdmi.wire import Limits
from tests.unit.test_cdmi_client import BODY, ENTRY, client_of, problem_of, serving
from tests.unit.test_cdmi_grants import KEY, US, Peer, exports_of

SOURCE = "cdmi_objectid/45234"
V1_0_CONTAINER = "application/vnd.org.snia.cdmi.container+json"


@pytest.mark.parametrize(
    ("dialect", "url", "wanted"),
    [
        (FIRST[0], "/a/", {"Accept": "application/cdmi-container", VERSION_HEADER: "1.1.1"}),
        (FIRST[0], "/a?b/", {"Accept": "application/cdmi-object", VERSION_HEADER: "1.1.1"}),
        (V1_0, "/a/", {"Accept": V1_0_CONTAINER, "Content-Type": V1_0_CONTAINER, VERSION_HEADER: "1.0"}),
        (V2_0, "/a/", {"Accept": "application/cdmi-container"}),
    ],
)
def test_what_is_said_of_a_read(dialect: Dialect, url: str, wanted: dict[str, str]) -> None:
    assert dialect.headers(url, writing=False) == wanted


def test_a_data_object_has_a_name_of_its_own_in_1_0() -> None:
    assert V1_0.media_type("/a") == "application/vnd.org.snia.cdmi.dataobject+json"
    assert SNIAS_OWN.media_type("/a") == "application/vnd.org.snia.cdmi-object"


@pytest.mark.parametrize(
    ("dialect", "wanted"),
    [(FIRST[0], "/a/?exports;metadata"), (V1_0, "/a/?exports;metadata"), (V2_0, "/a/?exports&metadata")],
)
def test_fields_are_selected_as_the_version_spells_it(dialect: Dialect, wanted: str) -> None:
    assert dialect.select("/a/?x", ("exports", "metadata")) == wanted
    assert dialect.select("/a/", ()) == "/a/"


@pytest.mark.parametrize(
    ("spec_version", "root", "first", "count"),
    [
        ("auto", "/", "1.1.1", 8),
        ("auto", "/cdmi/", "1.1.1", 8),
        ("auto", "/cdmi/2.0.0/", "2.0", 8),
        ("auto", "/3.0/", "2.0", 8),
        ("auto", "/v2.0x/", "1.1.1", 8),
        ("1.1.1", "/", "1.1.1", 1),
        ("1.0.2", "/", "1.0.2", 2),
        ("1.0", "/", "1.0", 2),
        ("2.0.0", "/", "2.0.0", 1),
        ("3.0", "/", "3.0", 1),
    ],
)
def test_what_is_tried(spec_version: str, root: str, first: str, count: int) -> None:
    tried = dialects_of(spec_version, root)
    assert (tried[0].version, len(tried)) == (first, count)


class Server:
    """One object, answered to whoever speaks as `understands` wants it; it remembers what was said."""

    def __init__(self, understands: Callable[[web.Request], bool], *, refusal: int = 400, body: Any = BODY) -> None:
        self.understands = understands
        self.refusal = refusal
        self.body = body
        self.said: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.said.append(request.headers.get(VERSION_HEADER, "none"))
        if not self.understands(request):
            return web.Response(status=self.refusal, body=b"raw" if self.refusal == 200 else b"")
        return web.json_response(self.body)


def version(wanted: str | None) -> Callable[[web.Request], bool]:
    return lambda request: request.headers.get(VERSION_HEADER) == wanted


@pytest.mark.parametrize("refusal", [400, 406, 200])
@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("1.1.1", ["1.1.1"]),
        ("1.1", ["1.1.1", "1.1"]),
        ("1.0.1", ["1.1.1", "1.1", "1.0.2", "1.0.1"]),
        ("1.0", ["1.1.1", "1.1", "1.0.2", "1.0.1", "1.1.0", "1.0.2", "1.0"]),
        (None, ["1.1.1", "1.1", "1.0.2", "1.0.1", "1.1.0", "1.0.2", "1.0", "none"]),
    ],
)
async def test_the_version_that_works_is_found_and_remembered(
    wanted: str | None, said: list[str], refusal: int
) -> None:
    server = Server(version(wanted), refusal=refusal)
    async with serving(server.answer) as url, client_of(url) as client:
        for _ in range(2):
            assert (await client.resolve(url + SOURCE)).exports[0].usable
    assert server.said == [*said, said[-1]]


async def test_a_version_in_the_root_is_tried_first() -> None:
    server = Server(version(None))
    async with serving(server.answer) as origin, client_of(f"{origin}cdmi/2.0.0/") as client:
        await client.resolve(f"{origin}cdmi/2.0.0/{SOURCE}")
    assert server.said == ["none"]


async def test_a_server_that_changes_its_version_is_found_again() -> None:
    server = Server(version("1.0.2"))
    async with serving(server.answer) as url, client_of(url) as client:
        await client.resolve(url + SOURCE)
        server.understands = version(None)
        server.said.clear()
        await client.resolve(url + SOURCE)
        await client.resolve(url + SOURCE)
    assert server.said[0] == "1.0.2" and server.said[-2:] == ["none", "none"]


async def test_another_status_is_an_answer_in_any_version() -> None:
    for status in (401, 404, 409, 500):
        server = Server(lambda request: False, refusal=status)
        async with serving(server.answer) as url:
            assert str(status) in (await problem_of(f"{url}", limits=Limits())).detail
        assert set(server.said) == {"1.1.1"}


async def test_containers_and_data_objects_may_want_to_be_spoken_to_differently() -> None:
    """SNIA's reference implementation takes a data object for one by the Content-Type of the request alone."""
    body = {name: value for name, value in BODY.items() if name != "exports"} | {
        "objectType": "application/cdmi-object"
    }

    def understands(request: web.Request) -> bool:
        return request.headers.get("Content-Type") == "application/vnd.org.snia.cdmi-object"

    def answers(request: web.Request) -> bool:
        return request.path.endswith("/") or understands(request)

    server = Server(answers, refusal=200, body=body)
    async with serving(server.answer) as url, client_of(url) as client:
        assert (await client.resolve(url + "pool/")).object_id == "45234"
        server.understands = understands
        assert (await client.resolve(url + "image")).kind == "dataobject"


@pytest.mark.parametrize("refusal", [405, 501])
async def test_an_update_of_a_server_that_never_said_its_version(refusal: int) -> None:
    peer = Peer(exports_of([]), announcing=False)

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=refusal) if request.method == "PATCH" else await peer.answer(request)

    async with serving(answer) as url, client_of(url) as client:
        await client.grant(f"{url}{SOURCE}/", KEY, US)
    assert (peer.names(), peer.methods) == ([US], ["PUT"])


async def test_a_server_of_2_0_that_reads_on_over_our_version_is_never_put_to() -> None:
    peer = Peer({"1": ENTRY | {"type": "iSCSI", "permissions": []}}, announcing=False)

    async def answer(request: web.Request) -> web.Response:
        if request.method != "GET":
            assert request.method == "PATCH" and VERSION_HEADER not in request.headers
        return await peer.answer(request)

    async with serving(answer) as url, client_of(url) as client:
        await client.grant(f"{url}{SOURCE}/", "1", US)
    assert (peer.names("1"), peer.methods) == ([US], ["PATCH"])


async def test_an_error_that_says_a_version_is_that_of_1_x() -> None:
    """CDMI 2.0 clause 5.7.1: a client that gets an error with this header may fall back."""
    peer = Peer(exports_of([]), announcing=False)

    async def answer(request: web.Request) -> web.Response:
        if request.method == "PATCH":
            return web.Response(status=400, headers={VERSION_HEADER: "1.1.1"})
        return await peer.answer(request)

    async with serving(answer) as url, client_of(url) as client:
        await client.grant(f"{url}{SOURCE}/", KEY, US)
    assert (peer.names(), peer.methods) == ([US], ["PUT"])
