"""What OpenNebula's drivers read: places, sources, settings, VMs; and that what is wrong is said in one line."""

import base64
from pathlib import Path

import pytest
from cdmi_one import commands, message, vm
from cdmi_one.clones import copy_of, found_in, is_ours, object_of
from cdmi_one.failure import Failure, one_line
from cdmi_one.hosts import is_front_end
from cdmi_one.main import main
from cdmi_one.places import place_of, source_of
from cdmi_one.settings import Settings, load

SAMPLE = Path(__file__).resolve().parents[2] / "opennebula" / "etc" / "tm" / "cdmi" / "cdmi.conf"
SOURCE = "cdmi://cdmi.example.org:8443/cdmi_objectid/0000AAAA"


@pytest.mark.parametrize(
    ("text", "host", "path", "number"),
    [
        ("hosta:/var/lib/one//datastores/100/2/disk.0", "hosta", "/var/lib/one/datastores/100/2/disk.0", 0),
        ("a.b-c:/x/2/disk.12", "a.b-c", "/x/2/disk.12", 12),
        ("hosta:/var/lib/one//datastores/100/2", "hosta", "/var/lib/one/datastores/100/2", None),
        ("hosta:/x/2/disk.1.snap", "hosta", "/x/2/disk.1.snap", None),
        ("2001:db8::1:/x/2/disk.3", "2001:db8::1", "/x/2/disk.3", 3),
    ],
)
def test_places(text: str, host: str, path: str, number: int | None) -> None:
    place = place_of(text)
    assert (place.host, place.path, place.number) == (host, path, number)


@pytest.mark.parametrize("text", ["", "hosta", "/x/disk.0", ":/x/disk.0", "hosta:x", "ho st:/x", "hosta:/x y"])
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(Failure, match="HOST:PATH"):
        place_of(text)


def test_sources_are_taken_as_they_are() -> None:
    source = source_of(SOURCE)
    assert (source.server, source.path, str(source)) == (
        "cdmi.example.org:8443",
        "cdmi_objectid/0000AAAA",
        SOURCE,
    )
    for text in (
        "",
        "cdmi:/a/b",
        "cdmi://server",
        "cdmi://server/",
        "https://server/x",
        "cdmi://s/a b",
        "cdmi://s/a?b",
        "fe:/x",
    ):
        with pytest.raises(Failure, match="no CDMI object"):
            source_of(text)


def settings(folder: Path, text: str) -> Settings:
    file = folder / "cdmi.conf"
    file.write_text(text, encoding="utf-8")
    return load(file)


def test_the_sample_allows_nothing_and_each_of_its_lines_is_a_setting(tmp_path: Path) -> None:
    assert load(SAMPLE) == Settings() == load(tmp_path / "none")
    lines = SAMPLE.read_text().splitlines()
    said = "\n".join(line[1:] for line in lines if line[:1] == "#" and line[1:2].isupper())
    found = settings(tmp_path, said)
    assert found.allow and found.require and found.clones and found.images and found.bridges and found.import_from
    assert found.initiators["host1"] == ("iqn.1993-08.org.debian:01:abc",)


def test_settings(tmp_path: Path) -> None:
    found = settings(tmp_path, "ALLOW='cdmi://a/x/ cdmi://b:1/'  # two\n\nCLONES=cdmi://a/vms\nON_DELETE=modify\n")
    assert [(one.server, one.path) for one in found.allow] == [("a", "x"), ("b:1", "")]
    assert found.images == found.clones and found.on_delete == "modify" and found.site == "one"


@pytest.mark.parametrize(
    "line",
    [
        *(
            "ALLOW=cdmi://a/x cdmi://b",
            "COLOUR=red",
            "ALLOW",
            "ALLOW='cdmi://a",
            "ALLOW=https://a/x",
            "ALLOW=cdmi:///x",
            "CLONES=cdmi://a/Größe/",
        ),
        *("ALLOW=cdmi://a/../x", "ON_DELETE=maybe", "REQUIRE=yes", "SITE='a b'", "LEASE_S=1", "NEW_IMAGES=tape"),
    ],
)
def test_settings_that_are_wrong(tmp_path: Path, line: str) -> None:
    with pytest.raises(Failure, match=r"cdmi\.conf") as caught:
        settings(tmp_path, f"\n{line}\n")
    assert "\n" not in str(caught.value) and "; " in str(caught.value)


def test_a_vm() -> None:
    disk = "<DISK><DISK_ID>1</DISK_ID><SOURCE>cdmi://a/b</SOURCE><CLONE>{}</CLONE><SIZE>7</SIZE><TM_MAD>cdmi</TM_MAD></DISK>"
    history = "<HISTORY><SEQ>{}</SEQ><HOSTNAME>{}</HOSTNAME></HISTORY>"
    text = (
        f"<VM><ID>5</ID><LCM_STATE>3</LCM_STATE><TEMPLATE>{disk.format('YES')}</TEMPLATE><HISTORY_RECORDS>"
        f"{history.format(10, 'c')}{history.format(9, 'b')}</HISTORY_RECORDS></VM>"
    )
    found = vm.from_base64(base64.b64encode(text.encode()).decode())
    assert (found.id, found.lcm_state, found.hosts) == ("5", 3, ("b", "c"))
    assert found.disk(1).is_clone and found.ours == found.disks and found.disk(1).original_mb == -1
    assert not found.disk(1).read_only and not found.disk(1).shared
    with pytest.raises(Failure, match="no disk 2"):
        found.disk(2)
    for word in ("NO", "", "MAYBE"):
        other = vm.from_base64(base64.b64encode(text.replace("YES", word).encode()).decode())
        assert not other.disk(1).is_clone, "what oned does not say is never deleted"


def test_a_copy_is_ours_by_its_whole_note(tmp_path: Path) -> None:
    found = settings(tmp_path, "CLONES=cdmi://cdmi.example.org:8443/vms/\nSITE=north\n")
    copy = copy_of(SOURCE, "5", 1, found)
    assert str(copy.place) == "cdmi://cdmi.example.org:8443/vms/one-5-1"
    assert copy.note == {"opennebula_owner": "north vm 5 disk 1", "opennebula_source": SOURCE}
    there = found_in('{"uri": "https://s/x", "object_id": "AB", "metadata": {"opennebula_owner": "north vm 5 disk 1"}}')
    assert there is not None and not is_ours(there, copy), "what it was copied from counts as well"
    assert found_in('{"code": "not-found", "status": 404}') is None and found_in("") is None
    with pytest.raises(Failure, match="no container for copies on elsewhere"):
        copy_of("cdmi://elsewhere/x", "5", 1, found)
    disk = vm.Disk(1, SOURCE, "cdmi", is_clone=False, read_only=False, shared=False, size_mb=1, original_mb=1)
    assert object_of(disk, "5", found) == SOURCE


def test_the_front_end_has_several_names() -> None:
    import os

    mine = os.uname().nodename
    assert is_front_end(mine, Settings()) and is_front_end("localhost", Settings())
    assert not is_front_end(f"{mine}.example.org", Settings()), "that may be a host of another domain"
    assert is_front_end("fe", Settings(front_end=("fe",)))
    assert not is_front_end("fe", Settings()) and not is_front_end(f"{mine}2", Settings())


def test_words_are_quoted_for_the_shell() -> None:
    assert commands.cdmi("stat", "cdmi://s/a'b;rm -rf $HOME") == """cdmi-attach stat 'cdmi://s/a'"'"'b;rm -rf $HOME'"""


@pytest.mark.parametrize(
    "words", [[], ["tm"], ["tm", "dance"], ["tm", "ln", "x"], ["datastore", "cp"], ["tm", "mkimage"], ["x", "y"]]
)
def test_one_line_whatever_is_wrong(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and said.err.startswith("cdmi/") and "; " in said.err


def test_a_line_is_ascii_whatever_a_server_calls_things() -> None:
    assert one_line("a\n„Größe“ \x1b[2J\0\\") == r"a \u201eGr\xf6\xdfe\u201c \x1b[2J\x00" + "\\"


def test_messages_of_either_convention() -> None:
    text = (
        "<DS_DRIVER_ACTION_DATA><IMAGE><ID>9</ID><PATH>cdmi://a/b</PATH><SIZE>7</SIZE></IMAGE>"
        "<DATASTORE><TEMPLATE><BRIDGE_LIST>h1 h2</BRIDGE_LIST></TEMPLATE></DATASTORE></DS_DRIVER_ACTION_DATA>"
    )
    asked = message.read([base64.b64encode(text.encode()).decode(), "9"])
    assert (asked.id, asked.path, asked.size_mb, asked.source) == ("9", "cdmi://a/b", 7, "")
    assert asked.attributes == {"BRIDGE_LIST": "h1 h2"}
    with pytest.raises(Failure, match="no message"):
        message.read(["?", "9"])
