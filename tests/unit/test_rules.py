"""The helper's configuration: believed only where root alone can have written it, none of its secrets read."""

from pathlib import Path

import pytest

from agent.helper.rules import Rules
from attachers.problems import Code, Problem

CONFIG = """[attach]
device_owner = "oneadmin:disk"
[iscsi]
interface = "storage"
[nfs]
options = "hard,noatime,sync"
allow_downgrade = true
[[server]]
url = "https://store.example.org/cdmi"
user = "one"
password_credential = "cdmi"
storage_networks = ["10.1.0.0/16"]
storage_wwpns = ["50:01:43:80:12:34:56:78"]
chap = { user = "host", password_file = "/nonexistent" }
[[server]]
url = "https://other.example.org/"
token_file = "/nonexistent"
client_key_credential = "key"
client_cert_file = "/dev/null"
"""
NEITHER = "[[server]]\nurl = 3\n"


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path


def refused(rules: Rules) -> Problem:
    with pytest.raises(Problem) as caught:
        rules()
    assert caught.value.code is Code.UNAVAILABLE and caught.value.hint
    return caught.value


def test_all_that_it_says_without_its_secrets(etc: Path) -> None:
    allowed = Rules(etc / "config.toml")()
    first, second = allowed.places
    assert (first.url, first.chap, first.wwpns) == ("https://store.example.org/cdmi/", True, ("5001438012345678",))
    assert [str(network) for network in first.networks] == ["10.1.0.0/16"] and not second.chap
    assert (allowed.owner, allowed.iface) == ("oneadmin:disk", "storage")
    assert (allowed.nfs_options, allowed.nfs_downgrade) == ("hard,noatime,sync", True)


@pytest.mark.parametrize(
    ("name", "mode"), [("config.toml", 0o664), ("config.toml", 0o646), ("conf.d", 0o777), (".", 0o770)]
)
def test_what_others_may_write_is_not_believed(etc: Path, name: str, mode: int) -> None:
    (etc / name).chmod(mode)
    assert "root's alone" in refused(Rules(etc / "config.toml")).detail


def test_a_drop_in_that_others_may_write_is_not_believed(etc: Path) -> None:
    (etc / "conf.d/10-x.toml").touch()
    (etc / "conf.d/10-x.toml").chmod(0o666)
    assert "10-x.toml" in refused(Rules(etc / "config.toml")).detail


def test_without_any_nothing_is_allowed(tmp_path: Path) -> None:
    assert "config.toml" in refused(Rules(tmp_path / "config.toml")).detail


def test_what_has_changed_is_read_again_and_a_mistake_changes_nothing(etc: Path) -> None:
    rules = Rules(etc / "config.toml")
    (etc / "config.toml").write_text(NEITHER)
    assert "url" in refused(rules).detail
    (etc / "config.toml").write_text(CONFIG)
    allowed = rules()
    (etc / "conf.d/20-y.toml").write_text(NEITHER)
    assert rules() is allowed
    (etc / "conf.d/20-y.toml").write_text('[attach]\ndevice_owner = "root:disk"\n')
    assert rules().owner == "root:disk"


def test_a_file_that_becomes_anybodys_takes_nothing_along(etc: Path) -> None:
    rules = Rules(etc / "config.toml")
    allowed = rules()
    (etc / "config.toml").chmod(0o666)
    (etc / "config.toml").write_text(CONFIG.replace("10.1.0.0/16", "0.0.0.0/0"))
    assert rules() is allowed
