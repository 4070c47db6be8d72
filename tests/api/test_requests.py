"""What callers may send: every field by its path, everything else refused, and nothing leaks out."""

import asyncio
import json
import logging
import socket
from typing import Any

import pytest

from tests.api.conftest import Caller
from tests.api.engine import FakeEngine

SOURCE = "cdmi://my.cdmi-server.tld/cdmi_objectid/45234"


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (b"", "not JSON"),
        (b"{", "line 1, column 2"),
        (b"[]", "an array, not a JSON object"),
        (b"null", "null, not a JSON object"),
        (b"\xff", "not UTF-8"),
        (b'{"source": "a", "source": "b"}', "comes twice"),
        (b'{"timeout_s": NaN}', "NaN"),
        (b'{"timeout_s": -Infinity}', "-Infinity"),
        (b'{"timeout_s": 1e400}', "too large"),
        (b'{"a": ' * 17 + b"1" + b"}" * 17, "too deeply"),
        (b"[" * 60000, "too deeply"),
        (b'{"timeout_s": ' + b"9" * 5000 + b"}", "not JSON"),
    ],
)
async def test_bad_json_is_a_bad_request(caller: Caller, raw: bytes, word: str) -> None:
    answer = await caller.call("PUT", "/v1/attachments/a", raw=raw)
    assert (answer.status, answer.code) == (400, "bad-request")
    assert word in answer.json["detail"]


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"source": None}, "source: null is not a string"),
        ({"source": ""}, "source: '' is not a string of 1 to 2048"),
        ({"source": "x" * 2049}, "source: "),
        ({"source": "file:///etc/shadow"}, "source: 'file:///etc/shadow' is not cdmi://"),
        ({"source": "cdmi://host/a b"}, "source: "),
        ({"source": "cdmi://host/a\nb"}, "source: 'cdmi://host/a\\nb' is not an URI"),
        ({"source": "cdmi://host/\u00e4"}, "source: "),
        ({"source": "https://[::1/x"}, "source: "),
        ({"access": "rwx"}, "access: 'rwx' is not one of rw, ro"),
        ({"access": ["rw"]}, "access: ['rw'] is not one of rw, ro"),
        ({"protocols": "iscsi"}, "protocols: a string is not a list of"),
        ({"protocols": []}, "protocols: an array is not a list of"),
        ({"protocols": ["iscsi", "nvme"]}, "protocols[1]: 'nvme' is not one of"),
        ({"protocols": ["iscsi", "iscsi"]}, "protocols[1]: 'iscsi' is not one of"),
        ({"protocols": [{}]}, "protocols[0]: {} is not one of"),
        ({"present": "tape"}, "present: 'tape'"),
        ({"present": "file"}, "present: file is for nfs only, and protocols are iscsi"),
        (
            {"present": "file", "protocols": ["fc", "iscsi"]},
            "present: file is for nfs only, and protocols are fc, iscsi",
        ),
        ({"format": "vmdk"}, "format: 'vmdk'"),
        ({"share": 1}, "share: a number is not true or false"),
        ({"generation": -1}, "generation: -1"),
        ({"generation": 1.5}, "generation: 1.5"),
        ({"generation": True}, "generation: True"),
        ({"min_paths": 0}, "min_paths: 0"),
        ({"domain": "one-42"}, "domain: a string is not an object"),
        ({"domain": {"name": "one-42"}}, "domain.target: missing"),
        ({"domain": {"name": "a;b", "target": "sda"}}, "domain.name: 'a;b'"),
        ({"domain": {"name": "a", "target": "../x"}}, "domain.target: '../x'"),
        ({"domain": {"name": "a", "target": "sda", "bus": "usb"}}, "domain.bus: 'usb'"),
        ({"domain": {"name": "a", "target": "sda", "serial": "x"}}, "domain.serial: unknown field"),
        ({"lease_s": 0}, "lease_s: 0"),
        ({"timeout_s": "60"}, "timeout_s: '60'"),
        ({"timeout_s": 3601}, "timeout_s: 3601"),
        ({"acess": "ro"}, "acess: unknown field"),
        ({"a\nb": 1}, "a\\nb: unknown field"),
    ],
)
async def test_every_field_is_checked_by_its_path(caller: Caller, fields: dict[str, Any], word: str) -> None:
    body = json.dumps({"source": SOURCE} | fields).replace("Infinity", "1e400").encode()
    answer = await caller.call("PUT", "/v1/attachments/a", raw=body)
    assert (answer.status, answer.code) == (422, "invalid-request")
    assert answer.json["detail"].startswith(word)
    assert answer.json["hint"]


async def test_a_near_miss_is_guessed(caller: Caller) -> None:
    assert (await caller.attach(acess="ro")).json["hint"] == "did you mean access?"


async def test_a_password_in_a_source_is_refused_and_not_repeated(caller: Caller) -> None:
    for call in (
        caller.attach(source="https://one:hunter2@host/x"),
        caller.call("POST", "/v1/resolve", {"source": "https://one:hunter2@host/x"}),
    ):
        answer = await call
        assert answer.code == "invalid-request"
        assert "hunter2" not in answer.text


@pytest.mark.parametrize(
    "name", ["-a", ".", ".hidden", "a%2Fb", "a%00b", "a%0Ab", "a" * 129, "%C3%A4", "a%20b", "%2E%2E"]
)
async def test_names_are_checked(caller: Caller, name: str) -> None:
    for method in ("PUT", "GET", "DELETE"):
        answer = await caller.call(method, f"/v1/attachments/{name}", {"source": SOURCE})
        assert answer.status in (404, 405, 422), (method, answer.text)
        assert answer.code in ("invalid-request", "not-found", "bad-request")


async def test_null_stands_for_the_default(caller: Caller) -> None:
    answer = await caller.attach(generation=None, domain=None, lease_s=None, timeout_s=None, min_paths=None)
    assert answer.status == 201


@pytest.mark.parametrize("query", ["?wait=x", "?wait=-1", "?wait=nan", "?wait=1e9", "?wiat=1", "?wait="])
async def test_the_query_is_checked(caller: Caller, query: str) -> None:
    assert (await caller.attach(query=query)).code == "invalid-request"
    assert (await caller.call("GET", f"/v1/attachments{query}")).code == "invalid-request"


async def test_a_body_above_64_kib_is_too_large(caller: Caller, engine: FakeEngine) -> None:
    limit = 64 * 1024
    head = b'{"source": "' + SOURCE.encode() + b'"'
    fits = head + b" " * (limit - len(head) - 1) + b"}"
    assert (await caller.call("PUT", "/v1/attachments/a", raw=fits)).status == 201
    answer = await caller.call("PUT", "/v1/attachments/b", raw=fits[:-1] + b"  }")
    assert (answer.status, answer.code) == (413, "too-large")
    assert list(engine.requests) == ["a"]


async def test_unknown_routes_and_methods_are_problems(caller: Caller) -> None:
    missing = await caller.call("GET", "/v2/attachments")
    assert (missing.status, missing.code) == (404, "not-found")
    wrong = await caller.call("PATCH", "/v1/attachments/a")
    assert (wrong.status, wrong.code) == (405, "bad-request")
    assert wrong.headers["Allow"] == "DELETE, GET, PUT"


async def test_our_own_faults_are_opaque(caller: Caller, engine: FakeEngine, caplog: pytest.LogCaptureFixture) -> None:
    engine.crash = "secret hunter2 at /usr/lib/x.py"
    with caplog.at_level(logging.ERROR):
        answer = await caller.attach()
    assert (answer.status, answer.code) == (500, "internal")
    assert "hunter2" not in answer.text and "Traceback" not in answer.text and ".py" not in answer.text
    assert "hunter2" in caplog.text, "the log has the cause"


async def test_what_is_not_http_gets_no_traceback(caller: Caller) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(caller.path))
        sock.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        sock.settimeout(5)
        answer = await asyncio.get_running_loop().run_in_executor(None, sock.recv, 65536)
    assert b" 400 " in answer.split(b"\r\n")[0]
    assert b"Traceback" not in answer
