"""The contract, the routes and the parser say the same."""

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from agent.api import parse
from agent.api.app import create_app
from agent.api.fields import Fields
from agent.api.openapi import ANSWERS, BODIES, QUERIES, document
from agent.api.routes import NOW, ROUTES, Op
from agent.api.schemas import SCHEMAS
from agent.config import Attach
from agent.model import Phase
from attachers.problems import STATUS, Code, Problem
from tests.api.conftest import Caller
from tests.api.engine import FakeEngine

SOURCE = "cdmi://my.cdmi-server.tld/cdmi_objectid/45234"

REQUESTS: list[dict[str, Any]] = [
    {"source": SOURCE},
    {"source": SOURCE, "access": "ro", "protocols": ["iscsi", "fc"], "share": True, "generation": 7, "min_paths": 1},
    {"source": SOURCE, "domain": {"name": "one-42", "target": "sda", "bus": "virtio"}, "timeout_s": 1.5},
    {"source": SOURCE, "domain": None, "generation": None, "lease_s": None, "present": "block", "format": "raw"},
]
WRONG: list[dict[str, Any]] = [
    {},
    {"source": ""},
    {"source": SOURCE, "acess": "rw"},
    {"source": SOURCE, "access": "x"},
    {"source": SOURCE, "protocols": []},
    {"source": SOURCE, "protocols": ["iscsi", "iscsi"]},
    {"source": SOURCE, "share": "yes"},
    {"source": SOURCE, "generation": -1},
    {"source": SOURCE, "min_paths": 65},
    {"source": SOURCE, "domain": {"name": "one-42"}},
    {"source": SOURCE, "domain": {"name": "one-42", "target": "nvme0"}},
    {"source": SOURCE, "timeout_s": 0},
    {"source": SOURCE, "timeout_s": 3601},
    {"source": SOURCE, "lease_s": True},
]


def validator(name: str) -> Draft202012Validator:
    """Validates against one schema of the document."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": SCHEMAS}}
    return Draft202012Validator(schema)


def test_the_document_holds_each_route_once() -> None:
    paths = document()["paths"]
    listed = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert listed == {(route.method, route.path) for route in ROUTES}
    assert len(ROUTES) == len(listed) == len(Op)
    for route in ROUTES:
        operation = paths[route.path][route.method.lower()]
        assert operation["x-available"] is (route.op in NOW)
        assert (route.op in ANSWERS) is (route.op in NOW)
    assert {*BODIES, *QUERIES} <= NOW


def test_the_application_has_just_these_routes() -> None:
    app = create_app(FakeEngine(), group_gid=None)
    served = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource}
    assert served == {(route.method, route.path) for route in ROUTES}
    assert isinstance(app, web.Application)


def test_the_parser_knows_just_the_fields_of_the_schema() -> None:
    fields = Fields({"source": SOURCE})
    parse.attach_request("a", fields, Attach())
    assert fields.known == set(SCHEMAS["AttachRequest"]["properties"])
    domain = Fields({"name": "d", "target": "sda"}, "domain")
    parse.domain_request(domain)
    assert domain.known == set(SCHEMAS["DomainRequest"]["properties"])


@pytest.mark.parametrize("body", REQUESTS)
def test_what_the_schema_takes_the_parser_takes(body: dict[str, Any]) -> None:
    validator("AttachRequest").validate(body)
    parse.attach_request("a", Fields(body), Attach())


@pytest.mark.parametrize("body", WRONG)
def test_what_the_schema_refuses_the_parser_refuses(body: dict[str, Any]) -> None:
    assert not validator("AttachRequest").is_valid(body)
    with pytest.raises(Problem) as caught:
        parse.attach_request("a", Fields(body), Attach())
    assert caught.value.code is Code.INVALID_REQUEST


def test_the_defaults_are_the_same() -> None:
    request = parse.attach_request("a", Fields({"source": SOURCE}), Attach())
    for key, schema in SCHEMAS["AttachRequest"]["properties"].items():
        if "default" in schema:
            assert getattr(request, key) == schema["default"], key


def test_phases_and_problems_are_frozen() -> None:
    contract = document()
    assert contract["x-phases"] == [
        "attaching", "attached", "degraded", "detaching", "uncertain", "quarantined", "failed",
    ]  # fmt: skip
    assert contract["x-phases"] == list(Phase)
    assert contract["x-problems"] == {
        "bad-request": 400, "too-large": 413, "invalid-request": 422, "forbidden": 403, "not-found": 404,
        "conflict": 409, "busy": 409, "in-use": 409, "stale": 409, "no-usable-export": 422,
        "unsupported-on-host": 501, "cdmi-unreachable": 502, "cdmi-refused": 502, "target-refused": 502,
        "target-timeout": 504, "device-timeout": 504, "wrong-device": 502, "dirty": 500, "unavailable": 503,
        "internal": 500,
    }  # fmt: skip
    assert set(STATUS) == set(Code)


def test_every_schema_is_a_schema_and_every_reference_leads_somewhere() -> None:
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)
    for name in json.dumps(document()).split('"#/components/schemas/')[1:]:
        assert name.partition('"')[0] in SCHEMAS


async def test_it_is_served_and_the_answers_fit_it(caller: Caller, engine: FakeEngine) -> None:
    assert (await caller.call("GET", "/v1/openapi.json")).json == document()
    validator("Attachment").validate((await caller.attach()).json)
    engine.hold()
    validator("Attachment").validate((await caller.attach("b", "?wait=0")).json)
    validator("Attachments").validate((await caller.call("GET", "/v1/attachments")).json)
    validator("Problem").validate((await caller.call("GET", "/v1/attachments/c")).json)
    validator("Resolved").validate((await caller.call("POST", "/v1/resolve", {"source": SOURCE})).json)
    validator("Host").validate((await caller.call("GET", "/v1/host")).json)
    validator("Health").validate((await caller.call("GET", "/healthz")).json)


def test_the_views_of_the_real_engine_fit() -> None:
    from agent.engine.view import explanation_of
    from agent.model import Resolved, SeenExport

    seen = SeenExport("Network/iSCSI", "iscsi", True, "", {"target": "iqn.2003-01.org.x:y"}, ("iqn.1993-08.org.z:a",))
    resolved = Resolved("https://a/", "https://a/cdmi_objectid/1", "1", "lun", "container", None, (seen,))
    for problem in (None, Problem(Code.NO_USABLE_EXPORT, "none")):
        validator("Resolved").validate(explanation_of(SOURCE, resolved, seen, problem))


def test_the_description_names_every_route_phase_and_code() -> None:
    text = (Path(__file__).parents[2] / "docs/api.md").read_text()
    for word in (*Phase, *Code, *SCHEMAS["AttachRequest"]["properties"]):
        assert f"`{word}`" in text, word
    for route in ROUTES:
        assert route.path in text or f"/{route.path.rpartition('/')[2]}`" in text, route.path
