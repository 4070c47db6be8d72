"""`make explanations`: docs/resolve.md, what `cdmi-attach resolve` says of objects in every version of CDMI.

The client and the command are the real ones; the servers are that of the tests, in each of its versions, and some of
the field, replayed.
"""

import asyncio
import ipaddress
import itertools
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from agent.cdmi.choose import choose
from agent.cdmi.client import CdmiClient
from agent.cdmi.server import Server, TokenScheme
from agent.cli import explain
from agent.engine.view import explanation_of
from agent.secret import Secret
from attachers.problems import Problem
from tests.cdmi_server import objectid
from tests.cdmi_server.dialects import DIALECTS, Dialect
from tests.cdmi_server.replay import replaying
from tests.cdmi_server.runner import running_server

PAGE = Path(__file__).resolve().parents[1] / "docs" / "resolve.md"
PROTOCOLS = ("iscsi", "nfs")
STORE = "https://store.example.org/"
HEAD = """\
# What `cdmi-attach resolve` says
An administrator has to be able to mend a server's answer from it alone. This page is made by `make explanations`, and a
test holds it to what is said. The same as JSON: `cdmi-attach resolve --json`, `POST /v1/resolve`.

In all of it `storage_networks = ["10.1.0.0/16"]` and `protocols = ["iscsi", "nfs"]`. Each server exports a LUN, and a
folder of images over NFS. The versions differ in what an export looks like; what is made of it does not.
"""
BASIC: dict[str, Any] = {"user": "one", "password": Secret("geheim")}
TOKEN: dict[str, Any] = {"token": Secret("geheim"), "token_scheme": TokenScheme.X_AUTH_TOKEN}
FIELD: dict[str, tuple[str, str, dict[str, Any]]] = {
    "seedmi": ("cdmi/", "images/disk", {}),
    "dcache": ("cdmi/", "lun", {}),
    "indigo": ("", "pool", BASIC),
    "swift-middleware": ("cdmi/", "AUTH_one/images/disk", TOKEN),
    "snia-reference": ("cdmi/", "pool", {}),
}


def main() -> int:
    """Write the page. Returns the exit status."""
    PAGE.write_text(asyncio.run(page()), encoding="utf-8")
    print(PAGE)
    return 0


async def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for name in DIALECTS:
        parts.append(f"\n## CDMI {name}{' (the draft)' if DIALECTS[name].draft else ''}\n")
        parts += await of_version(DIALECTS[name])
    parts.append("\n## Servers of the field\n")
    for name, (root, source, login) in FIELD.items():
        async with replaying(name) as (replay, origin):
            parts.append(f"\n{' '.join(replay.about.split())}\n{await _explained(origin + root, source, **login)}")
    return "".join(parts)


async def of_version(dialect: Dialect) -> list[str]:
    """A LUN and an image on a server of one version, with the entries that were read."""
    portals = ("10.1.0.1", "10.1.0.2", "10.9.0.1")
    with tempfile.TemporaryDirectory() as state, numbered_ids(dialect.name):
        async with running_server(Path(state), dialect=dialect.name, portals=portals) as server:
            return await _of_server(server.url, dialect)


@contextmanager
def numbered_ids(name: str) -> Iterator[None]:
    """The same object IDs each time the page is made."""
    old, numbers = objectid.new, itertools.count(1)
    objectid.new = lambda: objectid.fixed(f"{name} {next(numbers)}")
    try:
        yield
    finally:
        objectid.new = old


async def _of_server(url: str, dialect: Dialect) -> list[str]:
    entry = {"permissions": ["iqn.2010-01.com.acme:host1"]} | ({"type": "iSCSI"} if dialect.typed_exports else {})
    key = "1" if dialect.typed_exports else "Network/iSCSI"
    lun = await _put(url, "vol1/", {"metadata": {"cdmi_assignedsize": "104857600"}, "exports": {key: entry}}, dialect)
    folder = await _put(url, "pool/", {"metadata": {"x_nfs_path": "nas.example.org:/srv/pool"}}, dialect)
    await _put(url, "pool/one/", {}, dialect)
    await _put(url, "pool/one/disk.img", {"value": "x" * 4096}, dialect)
    parts = []
    for source, made in (("vol1", lun), ("pool/one/disk.img", folder)):
        parts.append(f"```json\n{_entries(made['exports'])}\n```\n{await _explained(url, source)}")
    return parts


def _entries(exports: dict[str, dict[str, Any]]) -> str:
    """Export entries as JSON, each member on a line."""
    shown = []
    for key, entry in exports.items():
        members = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in entry.items())
        shown.append(f"{json.dumps(key)}: {{\n{members} }}")
    return f'"exports": {{ {", ".join(shown)} }}'


async def _explained(url: str, source: str, **login: Any) -> str:
    server = Server(url, allow_http=True, storage_networks=(ipaddress.ip_network("10.1.0.0/16"),), **login)
    client = CdmiClient([server], protocols=PROTOCOLS, resolver=_resolver)
    try:
        resolved = await client.resolve(url + source)
    finally:
        await client.close()
    chosen, problem = None, None
    try:
        chosen = choose(resolved, PROTOCOLS)
    except Problem as found:
        problem = found
    host = url.partition("://")[2].partition("/")[0]
    asked = f"cdmi://store.example.org/{url.partition('://')[2].partition('/')[2]}{source}"
    answer = json.dumps(explanation_of(asked, resolved, chosen, problem)).replace(f"http://{host}/", STORE)
    return f"```\n$ cdmi-attach resolve {asked}\n{explain.text(json.loads(answer))}\n```\n"


async def _resolver(name: str) -> Sequence[str]:
    return {"nas.example.org": ["10.1.0.20"]}[name]


async def _put(url: str, path: str, body: dict[str, Any], dialect: Dialect) -> dict[str, Any]:
    media_type = dialect.media_types("container" if path.endswith("/") else "object")[0]
    headers = {"Accept": media_type, "Content-Type": media_type}
    headers |= {"X-CDMI-Specification-Version": dialect.version} if dialect.version else {}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.put(url + path, data=json.dumps(body)) as answer,
    ):
        made: dict[str, Any] = json.loads(await answer.read())
        return made


if __name__ == "__main__":
    sys.exit(main())
