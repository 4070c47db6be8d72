"""Which object of which server a source means, and what is refused before anybody is asked."""

import copy
import json
import pickle
from dataclasses import asdict

import pytest

from agent.cdmi import sources
from agent.cdmi.server import Server, split_authority
from agent.secret import Secret
from attachers.problems import Code, Problem

MAIN = Server("https://my.cdmi-server.tld/cdmi/", aliases=("10.0.0.9", "store:9443", "[fd00::9]"))
ODD_PORT = Server("https://odd.example:8443/")
PLAIN = Server("http://plain.example/", allow_http=True)
TWINS = (Server("https://twin.example/a/"), Server("https://twin.example/b/"))
PORTS = (Server("https://two.example/"), Server("https://two.example:444/"))
SERVERS = (MAIN, ODD_PORT, PLAIN, *TWINS, *PORTS)
ROOT = "https://my.cdmi-server.tld/cdmi/"


@pytest.mark.parametrize(
    ("source", "url"),
    [
        ("cdmi://my.cdmi-server.tld/cdmi_objectid/45234", ROOT + "cdmi_objectid/45234"),
        ("CDMI://MY.cdmi-server.TLD/cdmi_objectid/45234/", ROOT + "cdmi_objectid/45234/"),
        ("cdmi://my.cdmi-server.tld:443/vol1/", ROOT + "vol1/"),
        ("cdmi://my.cdmi-server.tld/cdmi/vol1/", ROOT + "vol1/"),
        ("https://my.cdmi-server.tld/cdmi/cdmi_objectid/45234", ROOT + "cdmi_objectid/45234"),
        ("https://my.cdmi-server.tld:443/cdmi/a/b%20c", ROOT + "a/b%20c"),
        ("https://my.cdmi-server.tld/cdmi", ROOT),
        ("cdmi://my.cdmi-server.tld", ROOT),
        ("cdmi://10.0.0.9/vol1/", ROOT + "vol1/"),
        ("https://10.0.0.9/cdmi/vol1/", ROOT + "vol1/"),
        ("cdmi://store/vol1/", ROOT + "vol1/"),
        ("cdmi://store:9443/vol1/", ROOT + "vol1/"),
        ("cdmi://[fd00::9]/vol1/", ROOT + "vol1/"),
        ("cdmi://my.cdmi-server.tld/cdmi_objectid/ab%2Bc%2Fd=/x", ROOT + "cdmi_objectid/ab%2Bc%2Fd%3D/x"),
        ("cdmi://my.cdmi-server.tld/b%C3%BCcher/é", ROOT + "b%C3%BCcher/%C3%A9"),
        ("cdmi://my.cdmi-server.tld/a;b&c=d:e+f", ROOT + "a%3Bb%26c%3Dd%3Ae%2Bf"),
        ("cdmi://my.cdmi-server.tld/%252e%252e/x", ROOT + "%252e%252e/x"),
        ("cdmi://odd.example/vol1", "https://odd.example:8443/vol1"),
        ("https://odd.example:8443/vol1", "https://odd.example:8443/vol1"),
        ("http://plain.example/vol1", "http://plain.example/vol1"),
        ("cdmi://twin.example/b/vol1", "https://twin.example/b/vol1"),
        ("cdmi://two.example/vol1", "https://two.example/vol1"),
        ("cdmi://two.example:444/vol1", "https://two.example:444/vol1"),
    ],
)
def test_a_source_means_one_object(source: str, url: str) -> None:
    assert sources.parse(source, SERVERS).url == url


@pytest.mark.parametrize(
    ("source", "object_id"),
    [
        ("cdmi://my.cdmi-server.tld/cdmi_objectid/45234", "45234"),
        ("cdmi://my.cdmi-server.tld/cdmi_objectid/45234/", "45234"),
        ("cdmi://my.cdmi-server.tld/cdmi_objectid/45234/child", None),
        ("cdmi://my.cdmi-server.tld/vol1/", None),
    ],
)
def test_an_object_asked_for_by_id_has_to_have_it(source: str, object_id: str | None) -> None:
    assert sources.parse(source, SERVERS).object_id == object_id


@pytest.mark.parametrize(
    "source",
    [
        "",
        "/vol1",
        "vol1",
        "file:///etc/shadow",
        "ftp://my.cdmi-server.tld/x",
        "cdmi:my.cdmi-server.tld/x",
        "cdmi:///x",
        "cdmi://my.cdmi-server.tld/../x",
        "cdmi://my.cdmi-server.tld/a/../../x",
        "cdmi://my.cdmi-server.tld/a/%2e%2E/x",
        "cdmi://my.cdmi-server.tld/./x",
        "cdmi://my.cdmi-server.tld//x",
        "cdmi://my.cdmi-server.tld/x//",
        "cdmi://my.cdmi-server.tld/a%2Fb",
        "cdmi://my.cdmi-server.tld/a%00b",
        "cdmi://my.cdmi-server.tld/a%0Ab",
        "cdmi://my.cdmi-server.tld/a%5Cb",
        "cdmi://my.cdmi-server.tld/a%E2%80%AEb",
        "cdmi://my.cdmi-server.tld/a\\b",
        "cdmi://my.cdmi-server.tld/a b",
        "cdmi://my.cdmi-server.tld/a\nb",
        "cdmi://my.cdmi-server.tld/a\x00b",
        "cdmi://my.cdmi-server.tld/\ud800",
        "cdmi://my.cdmi-server.tld/a%zz",
        "cdmi://my.cdmi-server.tld/a%",
        "cdmi://my.cdmi-server.tld/%ff",
        "cdmi://my.cdmi-server.tld/%c0%ae%c0%ae/x",
        "cdmi://my.cdmi-server.tld/x?exports",
        "cdmi://my.cdmi-server.tld/x#y",
        "cdmi://user@my.cdmi-server.tld/x",
        "cdmi://my.cdmi-server.tld:0/x",
        "cdmi://my.cdmi-server.tld:99999/x",
        "cdmi://my.cdmi-server.tld:/x",
        "cdmi://my.cdmi-server.tld:4x/x",
        "cdmi://[fd00::9/x",
        "cdmi://[fe80::9%25eth0]/x",
        "cdmi://my.cdmi-server.tld/cdmi_objectid",
        "cdmi://my.cdmi-server.tld/cdmi_objectid/",
        "cdmi://my.cdmi-server.tld/cdmi_objectid/" + "a" * 129,
        "cdmi://my.cdmi-server.tld/cdmi_objectid/../x",
        "cdmi://my.cdmi-server.tld/cdmi_objectid/a.b",
        "cdmi://my.cdmi-server.tld/cdmi_objectid/a%0a",
        "cdmi://my.cdmi-server.tld/" + "a" * 1024,
        "cdmi://twin.example/vol1",
    ],
)
def test_a_malformed_source_is_refused_by_name(source: str) -> None:
    with pytest.raises(Problem) as caught:
        sources.parse(source, SERVERS)
    assert caught.value.code is Code.INVALID_REQUEST
    assert caught.value.detail.startswith("source: ")
    assert caught.value.detail.isascii() and caught.value.detail.isprintable()
    assert caught.value.hint


@pytest.mark.parametrize(
    "source",
    [
        "cdmi://elsewhere.example/cdmi_objectid/45234",
        "https://elsewhere.example/x",
        "cdmi://my.cdmi-server.tld:8443/x",
        "http://my.cdmi-server.tld/cdmi/x",
        "https://odd.example/x",
        "https://my.cdmi-server.tld/other/x",
        "https://my.cdmi-server.tld/cdmi-not/x",
        "cdmi://127.0.0.1/x",
        "cdmi://store:9444/x",
    ],
)
def test_a_server_that_is_not_configured_is_forbidden_with_the_remedy(source: str) -> None:
    with pytest.raises(Problem) as caught:
        sources.parse(source, SERVERS)
    assert (caught.value.code, caught.value.status) == (Code.FORBIDDEN, 403)
    assert caught.value.detail.startswith("source: ")
    assert "[[server]]" in caught.value.hint


def test_a_password_in_a_source_is_not_repeated() -> None:
    with pytest.raises(Problem) as caught:
        sources.parse("cdmi://one:geheim@my.cdmi-server.tld/x", SERVERS)
    assert "geheim" not in json.dumps(caught.value.as_dict())


@pytest.mark.parametrize(
    "values",
    [
        {"url": "ftp://x/"},
        {"url": "https:///"},
        {"url": "https://x/?a"},
        {"url": "https://x/#a"},
        {"url": "https://x/a b/"},
        {"url": "https://x/a\n/"},
        {"url": "https://x/../"},
        {"url": "https://u:geheim@x/"},
        {"url": "https://u:geheim@[x/"},
        {"url": "http://x/"},
        {"url": "https://x/", "aliases": ("a/b",)},
        {"url": "https://x/", "spec_version": "1.1.1, 1.0"},
        {"url": "https://x/", "user": "one"},
        {"url": "https://x/", "user": "o:ne", "password": Secret("geheim")},
        {"url": "https://x/", "user": "one", "password": Secret("geheim"), "token": Secret("geheim")},
        {"url": "https://x/", "token": Secret("geheim\r\nX-Evil: 1")},
    ],
)
def test_an_unusable_server_is_refused_without_its_secrets(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"^(url|aliases|spec_version|user|token): ") as caught:
        Server(**values)  # type: ignore[arg-type]
    assert "geheim" not in str(caught.value)


def test_a_root_without_its_slash_gets_one() -> None:
    assert Server("https://x.example/cdmi") == Server("https://x.example/cdmi/")
    assert split_authority("[FD00::1]:99", field="aliases") == ("fd00::1", 99)


def test_a_secret_is_never_shown() -> None:
    secret = Secret("geheim")
    server = Server("https://x/", user="one", password=secret)
    shown = f"{secret} {secret!r} {secret:>20} {[secret]} {server} {server!r} {asdict(server)} {copy.deepcopy(server)}"
    assert "geheim" not in shown
    assert secret.reveal() == "geheim"
    assert secret == Secret("geheim") != Secret("other")
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        json.dumps(asdict(server))
