"""CHAP secrets: found by the server's name, believed only where root alone can have written them, never shown."""

from pathlib import Path

import pytest

from agent.host.chap import Secrets, secrets_of
from agent.host.roots import Roots
from agent.secret import Secret
from attachers.problems import Code, Problem
from tests.unit.linux_tree import roots_in

SERVER = "https://store.example.org/cdmi/"
PORTAL = "10.0.0.1:3260"
CONFIG = """[[server]]
url = "https://other.example.org/"
storage_networks = ["10.2.0.0/16"]
[[server]]
url = "https://store.example.org/cdmi"
storage_networks = ["10.0.0.0/15"]
password_file = "/nonexistent: that is the daemon's"
chap = {{ user = "me", password_file = "{0}/out"{1} }}
"""
MUTUAL = ', mutual_user = "it", mutual_password_credential = "in"'


class Etc:
    """/etc/cdmi-attach with its secrets."""

    def __init__(self, roots: Roots) -> None:
        self.roots = roots
        self.folder = roots.etc / "cdmi-attach"
        self.folder.mkdir()
        self.write("out", "correct horse battery\n", mode=0o400)

    def write(self, name: str, text: str, *, mode: int = 0o644) -> Path:
        path = self.folder / name
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def configure(self, more: str = "") -> None:
        self.write("config.toml", CONFIG.format(self.folder, more))

    def refused(self, server: str = SERVER, *, portal: str = PORTAL) -> Problem:
        with pytest.raises(Problem) as caught:
            secrets_of(self.roots, server, portal)
        assert caught.value.code is Code.UNSUPPORTED_ON_HOST and caught.value.hint
        assert "horse" not in f"{caught.value.detail} {caught.value.hint}"
        return caught.value


@pytest.fixture
def etc(tmp_path: Path) -> Etc:
    etc = Etc(roots_in(tmp_path))
    etc.configure()
    return etc


def test_the_secret_of_a_server_is_found_by_its_url(etc: Etc) -> None:
    assert secrets_of(etc.roots, SERVER, PORTAL) == Secrets("me", Secret("correct horse battery"))
    assert "horse" not in repr(secrets_of(etc.roots, SERVER, PORTAL))


@pytest.mark.parametrize("portal", ["10.2.0.1:3260", "192.0.2.1:3260", "store.example.org:3260", "[fd00::1]:3260"])
def test_they_are_for_the_portals_in_its_networks_alone(etc: Etc, portal: str) -> None:
    assert "is outside storage_networks" in etc.refused(portal=portal).detail


def test_both_directions_one_of_a_credential(etc: Etc, monkeypatch: pytest.MonkeyPatch) -> None:
    etc.configure(MUTUAL)
    assert "LoadCredential=in:" in etc.refused().hint
    (etc.folder / "credentials").mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(etc.folder / "credentials"))
    etc.write("credentials/in", "staple", mode=0o400)
    found = secrets_of(etc.roots, SERVER, PORTAL)
    assert (found.mutual_user, found.mutual_password) == ("it", Secret("staple"))
    etc.write("credentials/in", "correct horse battery", mode=0o400)
    assert "both directions" in etc.refused().detail


def test_a_changed_secret_is_read_anew(etc: Etc) -> None:
    secrets_of(etc.roots, SERVER, PORTAL)
    etc.write("out", "another", mode=0o400)
    assert secrets_of(etc.roots, SERVER, PORTAL).password == Secret("another")


@pytest.mark.parametrize("more", [", mutual_user = 'it'", ", mutual_user ="])
def test_a_mistake_is_told_with_its_place(etc: Etc, more: str) -> None:
    etc.configure(more)
    assert "config.toml:8" in etc.refused().detail


@pytest.mark.parametrize("server", ["https://other.example.org/", "https://third.example.org/"])
def test_a_server_without_chap(etc: Etc, server: str) -> None:
    assert server in etc.refused(server).detail


@pytest.mark.parametrize(
    ("name", "mode"), [("out", 0o440), ("out", 0o404), ("config.toml", 0o664), ("config.toml", 0o646), (".", 0o777)]
)
def test_what_others_may_write_or_read_is_not_believed(etc: Etc, name: str, mode: int) -> None:
    (etc.folder / name).chmod(mode)
    assert "root's alone" in etc.refused().detail


def test_a_drop_in_that_others_may_write_is_not_believed(etc: Etc) -> None:
    (etc.folder / "conf.d").mkdir()
    etc.write("conf.d/10-x.toml", "", mode=0o666)
    assert "10-x.toml" in etc.refused().detail


def test_a_link_in_place_of_a_secret_is_not_followed(etc: Etc) -> None:
    (etc.folder / "out").rename(etc.folder / "elsewhere")
    (etc.folder / "out").symlink_to("elsewhere")
    assert "cannot be read" in etc.refused().detail


@pytest.mark.parametrize("text", ["", "\n", " horse", "horse\nhorse", "horse\x00", "hors\u00e9", "horse" * 60])
def test_what_a_node_record_cannot_hold(etc: Etc, text: str) -> None:
    etc.write("out", text, mode=0o400)
    assert "no usable CHAP secret" in etc.refused().detail
