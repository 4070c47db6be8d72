"""The configuration: what is accepted, and that each error says where it is and what to do."""

import os
from pathlib import Path

import pytest

from agent.cdmi.server import Server, TokenScheme
from agent.config import Attach, Config, ConfigError, Iscsi, Socket, load_config
from agent.config_chap import Chap
from agent.config_render import render
from agent.config_secrets import NOTHING, Named
from agent.secret import Secret

FULL = """\
[socket]
group = "oneadmin"              # who may call

[[server]]
url = "https://my.cdmi-server.tld/cdmi"
aliases = ["10.0.0.9"]
spec_version = "1.1.1"
user = "one"
password_credential = "cdmi"
ca_file = "CA"
storage_networks = ["10.1.0.0/16", "fd00::/8"]
storage_wwpns = ["20:00:02:00:00:00:00:1A"]
nfs_server = "nas.example.org"
quota = "10 TiB"
chap = { user = "me", password_credential = "chap", mutual_user = "it", mutual_password_credential = "chap-in" }

[attach]
protocols = ["fc", "iscsi", "nfs"]
device_owner = "oneadmin:disk"
multipath = "never"
allow_unverified = true
timeout_s = 30
[iscsi]
interface = "storage"
[nfs]
options = "hard,noatime,nconnect=4"
[libvirt]
uri = "qemu:///system"
"""


class Files:
    """A directory like /etc/cdmi-attach, with credentials beside it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.credentials = directory / "credentials"
        self.credentials.mkdir()
        (directory / "conf.d").mkdir()

    def write(self, name: str, text: str, *, mode: int = 0o600) -> Path:
        path = self.directory / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def load(self, text: str | None = None) -> Config:
        if text is not None:
            self.write("config.toml", text)
        return load_config(self.directory / "config.toml", environ={"CREDENTIALS_DIRECTORY": str(self.credentials)})

    def errors(self, text: str | None = None) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            self.load(text)
        return [error.removeprefix(f"{self.directory}/") for error in caught.value.errors]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_an_empty_file_is_all_defaults(files: Files) -> None:
    assert files.load("") == Config()


def test_everything_of_the_contract_is_accepted(files: Files) -> None:
    files.write("credentials/cdmi", "hunter2\n", mode=0o440)
    config = files.load(FULL.replace('"CA"', f'"{files.write("ca.pem", "x")}"'))
    assert config.socket == Socket(group="oneadmin")
    assert config.attach == Attach(("fc", "iscsi", "nfs"), "oneadmin:disk", "never", True, 30.0)
    assert config.iscsi == Iscsi("storage")
    assert (config.nfs.options, config.libvirt.uri) == ("hard,noatime,nconnect=4", "qemu:///system")
    (server,) = config.servers
    assert (server.url, server.user, server.password) == ("https://my.cdmi-server.tld/cdmi/", "one", Secret("hunter2"))
    assert [str(network) for network in server.storage_networks] == ["10.1.0.0/16", "fd00::/8"]
    assert server.storage_wwpns == ("200002000000001a",)
    assert config.chap == (Chap(server.url, "me", Named("chap"), "it", Named("chap-in")),)


def test_a_token_of_a_file(files: Files) -> None:
    token = files.write("token", "abc\n", mode=0o400)
    text = f'[[server]]\nurl = "https://a/"\ntoken_file = "{token}"\ntoken_scheme = "x-auth-token"\n'
    server = Server(url="https://a/", token=Secret("abc"), token_scheme=TokenScheme.X_AUTH_TOKEN)
    assert files.load(text).servers == (server,)
    assert files.load(text).chap == ()
    assert Named() == NOTHING


def test_drop_ins_merge_by_name(files: Files) -> None:
    files.write("conf.d/20-b.toml", '[[server]]\nurl = "https://c/"\n[attach]\ntimeout_s = 20\n')
    files.write("conf.d/10-a.toml", '[[server]]\nurl = "https://b/"\n[attach]\ntimeout_s = 10\nmultipath = "never"\n')
    files.write("conf.d/ignored.txt", "not TOML")
    config = files.load('[[server]]\nurl = "https://a/"\n[attach]\nallow_unverified = true\n')
    assert [server.url for server in config.servers] == ["https://a/", "https://b/", "https://c/"]
    assert config.attach == Attach(multipath="never", allow_unverified=True, timeout_s=20.0)


def test_errors_of_drop_ins_name_their_own_file(files: Files) -> None:
    files.write("conf.d/10-a.toml", '\n[[server]]\nurl = "https://b/"\nspecversion = "auto"\n[attach]\ntimeout = 10\n')
    assert files.errors('[[server]]\nurl = "https://a/"\n') == [
        "conf.d/10-a.toml:4: server[1].specversion: unknown key; did you mean spec_version?",
        "conf.d/10-a.toml:6: attach.timeout: unknown key; did you mean timeout_s?",
    ]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[soket]\n", "config.toml:1: soket: unknown key; did you mean socket?"),
        ("\n\nx = 1\n", "config.toml:3: x: unknown key; known here are attach, iscsi, libvirt, nfs, server, socket"),
        ("[socket]\n\ngroup = 5\n", "config.toml:3: socket.group: a number is not a string; give a string"),
        ('socket.group = "a b"\n', "config.toml:1: socket.group: 'a b' is not right; give the name of a group"),
        ("socket = 1\n", "config.toml:1: socket: a number is not a table; give a table"),
        ("attach = { timeout_s = 0 }\n", "config.toml:1: attach.timeout_s: 0 is out of range; give a number of"),
        ("[attach]\ntimeout_s = true\n", "config.toml:2: attach.timeout_s: a boolean is not a number of seconds"),
        ("[attach]\nallow_unverified = 1\n", "config.toml:2: attach.allow_unverified: a number is not true or false"),
        (
            '[attach]\nprotocols = [\n  "iscsi",\n  "nvme",\n]\n',
            "config.toml:4: attach.protocols[1]: 'nvme' is not right; give one of fc, iscsi, nfs",
        ),
        ("[attach]\nprotocols = []\n", "config.toml:2: attach.protocols: is empty or names one twice; give some of"),
        ('[attach]\nmultipath = "yes"\n', "config.toml:2: attach.multipath: 'yes' is not known; give one of auto"),
        ('[attach]\ndevice_owner = "root"\n', "config.toml:2: attach.device_owner: 'root' is not user:group; give"),
        ('[iscsi]\ninterface = "../x"\n', "config.toml:2: iscsi.interface: '../x' is not the name of an interface"),
        ('[nfs]\noptions = "vers=3"\n', "config.toml:2: nfs.options: 'vers=3' is not a mount option that may be set"),
        ('[nfs]\noptions = "hard noatime"\n', "config.toml:2: nfs.options: 'hard noatime' is not a mount option"),
        ("[[server]]\n", "config.toml:1: server[0].url: is missing; give the URL"),
        ("[server]\n", "config.toml:1: server: a table is not an array of tables ([[server]]); give"),
        ("server = [1]\n", "config.toml:1: server: is not an array of tables; write [[server]]"),
        ('[[server]]\nurl = "ftp://a/"\n', "config.toml:2: server[0].url: 'ftp://a/' is not a URL such as"),
        ('[[server]]\nurl = "http://a/"\n', "config.toml:2: server[0].url: http is neither private nor authentic"),
        ('[[server]]\nurl = "https://a/"\nuser = "x"\n', "config.toml:3: server[0].user: Basic authentication needs"),
        (
            '[[server]]\nurl = "https://a/"\nstorage_networks = ["10.0.0.1/8"]\n',
            "config.toml:3: server[0].storage_networks[0]: '10.0.0.1/8' is not right; give a network such as",
        ),
        (
            '[[server]]\nurl = "https://a/"\nstorage_wwpns = ["20:00"]\n',
            "config.toml:3: server[0].storage_wwpns[0]: '20:00' is not right; give the name of a port, such as",
        ),
        (
            '[[server]]\nurl = "https://a/"\nca_file = "/nonexistent/ca.pem"\n',
            "config.toml:3: server[0].ca_file: '/nonexistent/ca.pem' is not right; give a file that can be read (No",
        ),
        (
            '[[server]]\nurl = "https://a/"\nuser = "u"\npassword_file = "/nonexistent"\n',
            "config.toml:4: server[0].password_file: /nonexistent cannot be read (No such file or directory); create",
        ),
        (
            '[[server]]\nurl = "https://a/"\nuser = "u"\npassword_credential = "cdmi"\n',
            "config.toml:4: server[0].password_credential: there is no systemd credential cdmi; put LoadCredential=",
        ),
        (
            '[[server]]\nurl = "https://a/"\nuser = "u"\npassword_credential = "../x"\n',
            "config.toml:4: server[0].password_credential: '../x' is not right; give the name of a systemd credential",
        ),
        (
            '[[server]]\nurl = "https://a/"\n[server.chap]\nuser = "x"\npasword_credential = "c"\n',
            "config.toml:3: server[0].chap.password_credential: is missing; give",
        ),
        (
            '[[server]]\nurl = "https://a/"\n[[server]]\nurl = "https://a/"\n',
            "config.toml:4: server[1].url: is there twice; keep one [[server]] for each URL",
        ),
        ('a = "x\n', "config.toml:1: is not TOML ("),
        ("[a]\n[a]\n", "config.toml:2: is not TOML ("),
        ("a = [", "config.toml: is not TOML ("),
    ],
)
def test_each_error_says_where_and_what_to_do(files: Files, text: str, error: str) -> None:
    assert files.errors(text)[0].startswith(error)


def test_all_errors_are_told_at_once(files: Files) -> None:
    text = '[socket]\ngrup = "x"\n[attach]\ntimeout_s = 0\n[[server]]\nurl = 3\n'
    assert [error.split(": ")[1] for error in files.errors(text)] == [
        "server[0].url",
        "socket.grup",
        "attach.timeout_s",
    ]


def test_no_file_at_all_is_an_error_with_its_name(files: Files) -> None:
    assert files.errors() == [
        "config.toml: cannot be read (No such file or directory); create it, or make it readable to us"
    ]


def test_drop_ins_alone_are_enough(files: Files) -> None:
    files.write("conf.d/a.toml", '[socket]\ngroup = "one"\n')
    assert files.load().socket.group == "one"


@pytest.mark.parametrize(
    ("content", "mode", "word"),
    [
        ("", 0o600, "no usable secret"),
        ("a\nb\n", 0o600, "no usable secret"),
        ("x" * 5000, 0o600, "no usable secret"),
        ("hunter2", 0o640, "open to others; chown cdmi-attach"),
    ],
)
def test_a_secret_file_that_will_not_do(files: Files, content: str, mode: int, word: str) -> None:
    secret = files.write("secret", content, mode=mode)
    (error,) = files.errors(f'[[server]]\nurl = "https://a/"\nuser = "u"\npassword_file = "{secret}"\n')
    assert word in error
    assert "hunter2" not in error


def test_a_password_in_the_file_itself_is_refused_and_not_repeated(files: Files) -> None:
    errors = files.errors('[[server]]\nurl = "https://a/"\nuser = "u"\npassword = "hunter2"\n')
    assert "config.toml:4: server[0].password: unknown key; did you mean password_file?" in errors
    assert "hunter2" not in "".join(errors)


def test_without_credentials_the_rest_can_be_checked(files: Files) -> None:
    text = '[[server]]\nurl = "https://a/"\nuser = "u"\npassword_credential = "cdmi"\n'
    path = files.write("config.toml", text)
    assert load_config(path, environ={}, need_credentials=False).servers[0].user == "u"
    with pytest.raises(ConfigError, match="LoadCredential=cdmi"):
        load_config(path, environ={})


def test_the_effective_configuration_is_toml_again_without_secrets(files: Files) -> None:
    files.write("credentials/cdmi", "hunter2\n")
    config = files.load(FULL.replace('"CA"', f'"{files.write("ca.pem", "x")}"'))
    shown = render(config)
    assert "hunter2" not in shown + repr(config) + str(config)
    assert 'password = "***"' in shown
    assert 'group = "oneadmin"' in shown and 'chap.user = "me"' in shown
    again = files.load(
        shown.replace('password = "***"', 'password_credential = "cdmi"').replace(
            'chap.user = "me"',
            'chap.user = "me"\nchap.password_credential = "chap"\nchap.mutual_password_credential = "chap-in"',
        )
    )
    assert again == config


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_a_file_that_we_may_not_read(files: Files) -> None:
    files.write("config.toml", "", mode=0)
    assert "Permission denied" in files.errors()[0]


@pytest.mark.parametrize("ails", ["no folder", "not ours to read"])
def test_drop_ins_that_cannot_be_looked_for_are_not_passed_over(files: Files, ails: str) -> None:
    """What they say would be missing: whose the devices are, which users may ask."""
    folder = files.directory / "conf.d"
    if ails == "no folder":
        folder.rmdir()
        folder.write_text("")
    elif os.geteuid() == 0:
        pytest.skip("root can read everything")
    else:
        folder.chmod(0)
    assert files.errors("")[0].startswith("conf.d: cannot be read")


CERTIFICATE = '[[server]]\nurl = "https://x.example/"\nclient_cert_file = "CERT"\n'


def test_a_clients_certificate_and_its_key(tmp_path: Path) -> None:
    files = Files(tmp_path)
    cert, key = files.write("cert.pem", "cert"), files.write("key.pem", "key")
    text = CERTIFICATE.replace("CERT", str(cert))
    (server,) = files.load(text).servers
    assert (server.client_cert, server.client_key) == (str(cert), None)
    (server,) = files.load(f'{text}client_key_file = "{key}"\n').servers
    assert server.client_key == str(key)
    assert 'client_key = "***"' in render(files.load())
    (files.credentials / "tls").write_text("key")
    (server,) = files.load(f'{text}client_key_credential = "tls"\n').servers
    assert server.client_key == str(files.credentials / "tls")


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ('client_key_file = "/nowhere/key.pem"', "client_key_file: /nowhere/key.pem cannot be read"),
        ('client_key_file = "OPEN"', "is open to others"),
        ('client_key_credential = "none"', "there is no systemd credential none"),
        ('client_key_file = "KEY"\nclient_key_credential = "tls"', "are both given"),
    ],
)
def test_a_key_that_cannot_be_used(tmp_path: Path, more: str, word: str) -> None:
    files = Files(tmp_path)
    cert, key, opened = files.write("c", "cert"), files.write("k", "key"), files.write("o", "key", mode=0o644)
    (files.credentials / "tls").write_text("key")
    more = more.replace("KEY", str(key)).replace("OPEN", str(opened))
    with pytest.raises(ConfigError, match=word):
        files.load(CERTIFICATE.replace("CERT", str(cert)) + more)


def test_a_key_needs_its_certificate(tmp_path: Path) -> None:
    files = Files(tmp_path)
    key = files.write("k", "key")
    with pytest.raises(ConfigError, match=r"client_cert_file: a key .* needs its certificate"):
        files.load(f'[[server]]\nurl = "https://x.example/"\nclient_key_file = "{key}"\n')


def test_what_is_named_is_read_again_with_the_files(tmp_path: Path) -> None:
    files = Files(tmp_path)
    token = files.write("token", "first\n")
    files.write("config.toml", f'[[server]]\nurl = "https://x.example/"\ntoken_file = "{token}"\n')
    tokens = [files.load().servers[0].token]
    token.write_text("second\n")
    tokens.append(files.load().servers[0].token)
    assert [one.reveal() for one in tokens if one] == ["first", "second"]
