"""VPD page 0x83 as a table: what is taken for the logical unit's name, and pages that must not be believed."""

import pytest

from agent.host.scsi_generic import MalformedPage, NoDisk, designators
from attachers import scsi, unit_names
from attachers.sights import ScsiPath

NAA = "6001405335a0af483444653992b78050"
NAME_STRING = f"naa.{NAA.upper()}".encode()
BINARY, ASCII, UTF8 = 1, 2, 3
T10, EUI64, NAA_KIND, PORT_GROUP, NAME = 1, 2, 3, 5, 8
UNIT, PORT, TARGET = 0, 1, 2


def descriptor(code_set: int, kind: int, value: bytes, *, association: int = UNIT, length: int | None = None) -> bytes:
    return bytes([code_set, association << 4 | kind, 0, len(value) if length is None else length]) + value


def page(*descriptors: bytes, code: int = 0x83, qualifier: int = 0, kind: int = 0, length: int | None = None) -> bytes:
    body = b"".join(descriptors)
    return bytes([qualifier << 5 | kind, code]) + (len(body) if length is None else length).to_bytes(2, "big") + body


def naa(text: str = NAA, **keywords: int) -> bytes:
    return descriptor(BINARY, NAA_KIND, bytes.fromhex(text), **keywords)


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        pytest.param(page(), set(), id="no designator at all"),
        pytest.param(page(naa()), {f"naa.{NAA}"}, id="NAA 6"),
        pytest.param(page(naa("5000c500a1b2c3d4")), {"naa.5000c500a1b2c3d4"}, id="NAA 5"),
        pytest.param(page(naa("20000025b5000001")), {"naa.20000025b5000001"}, id="NAA 2"),
        pytest.param(
            page(descriptor(BINARY, EUI64, bytes.fromhex("0025385b71b0e3a1"))), {"eui.0025385b71b0e3a1"}, id="EUI-64"
        ),
        pytest.param(page(descriptor(BINARY, EUI64, bytes(range(12)))), {"eui.000102030405060708090a0b"}, id="EUI 12"),
        pytest.param(page(descriptor(BINARY, EUI64, b"\x01" * 16)), {"eui." + "01" * 16}, id="EUI 16"),
        pytest.param(page(descriptor(UTF8, NAME, b"naa." + NAA.upper().encode())), {f"naa.{NAA}"}, id="name string"),
        pytest.param(
            page(descriptor(ASCII, T10, b"LIO-ORG d1:5335a0af"), naa(), naa("5000c500a1b2c3d4", association=PORT)),
            {f"naa.{NAA}"},
            id="several: only the logical unit's strong ones",
        ),
        pytest.param(page(naa(), naa("5000c500a1b2c3d4")), {f"naa.{NAA}", "naa.5000c500a1b2c3d4"}, id="two names"),
        pytest.param(page(naa(association=PORT), naa(association=TARGET)), set(), id="a port, a target"),
        pytest.param(page(descriptor(BINARY, PORT_GROUP, bytes(4))), set(), id="a port group"),
        pytest.param(page(descriptor(ASCII, NAA_KIND, bytes.fromhex(NAA))), set(), id="NAA that is not binary"),
        pytest.param(page(naa("6001405335a0af48")), set(), id="NAA 6 of 8 bytes"),
        pytest.param(page(naa("5001405335a0af483444653992b78050")), set(), id="NAA 5 of 16 bytes"),
        pytest.param(page(naa("f001405335a0af48")), set(), id="NAA of an unknown format"),
        pytest.param(page(descriptor(BINARY, NAA_KIND, b"")), set(), id="NAA of no bytes"),
        pytest.param(page(descriptor(BINARY, EUI64, b"\x01" * 9)), set(), id="EUI of 9 bytes"),
        pytest.param(page(descriptor(UTF8, NAME, b"naa.../../etc")), set(), id="a name string with a path"),
        pytest.param(page(descriptor(UTF8, NAME, b"\xff\xfe")), set(), id="a name string that is no text"),
        pytest.param(page(naa()) + b"\0" * 100, {f"naa.{NAA}"}, id="bytes after the page"),
        pytest.param(page(naa("3000000072f1c5ba")), {"naa.3000000072f1c5ba"}, id="NAA 3, locally assigned"),
        pytest.param(page(naa(), b"\0\0"), {f"naa.{NAA}"}, id="two bytes of padding"),
        pytest.param(page(naa(), naa(length=200)), {f"naa.{NAA}"}, id="a designator beyond the end, after a good one"),
        pytest.param(page(naa(), b"\1\3\0"), {f"naa.{NAA}"}, id="half a designator's header, after a good one"),
        pytest.param(page(naa(), length=200), {f"naa.{NAA}"}, id="shorter than it says"),
        pytest.param(page(naa(), naa())[:-1], {f"naa.{NAA}"}, id="the last byte is missing, after a good name"),
        pytest.param(page(descriptor(UTF8, NAME, NAME_STRING.ljust(40, b"\0"))), {f"naa.{NAA}"}, id="NULs at its end"),
        pytest.param(page(naa("0" * 32)), set(), id="a name of zeros"),
        pytest.param(page(naa("60000000000000000e00000000010001")), set(), id="NAA 6 of no company"),
        pytest.param(page(naa("5000000000000001")), set(), id="NAA 5 of no company"),
        pytest.param(page(naa("2abc000000000001")), set(), id="NAA 2 of no company"),
        pytest.param(page(naa("3000000000000000")), set(), id="NAA 3 that nobody assigned"),
        pytest.param(page(descriptor(BINARY, EUI64, bytes(8))), set(), id="EUI-64 of zeros"),
        pytest.param(page(descriptor(BINARY, EUI64, b"\x01" * 8 + bytes(8))), set(), id="EUI 16 of no company"),
        pytest.param(page(descriptor(UTF8, NAME, b"naa." + b"0" * 32)), set(), id="a name string of zeros"),
    ],
)
def test_strong_names_of_the_logical_unit(answer: bytes, names: set[str]) -> None:
    assert designators(answer) == names


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\0\x83\0", id="half a header"),
        pytest.param(page(naa())[:-1], id="the last byte is missing"),
        pytest.param(page(naa(length=200)), id="a designator beyond the end"),
        pytest.param(page(b"\1\3\0"), id="half a designator's header"),
        pytest.param(page(naa(), code=0x80), id="another page"),
        pytest.param(page(naa(), code=0x00), id="a standard INQUIRY"),
        pytest.param(page(naa(), qualifier=3), id="no logical unit is there"),
        pytest.param(page(naa(), qualifier=1), id="a logical unit that is not connected"),
    ],
)
def test_a_page_that_is_not_whole_is_not_believed(answer: bytes) -> None:
    with pytest.raises(MalformedPage):
        designators(answer)


def test_no_page_of_any_length_is_read_beyond_its_end() -> None:
    """Case 89: a name counts once it is whole, whatever comes of the rest."""
    whole, first = page(naa(), descriptor(BINARY, EUI64, bytes(range(8)))), len(page(naa()))
    for end in range(first):
        with pytest.raises(MalformedPage):
            designators(whole[:end])
    for end in range(first, len(whole)):
        assert designators(whole[:end]) == {f"naa.{NAA}"}


@pytest.mark.parametrize(("kind", "said"), [(1, "tape"), (5, "CD"), (8, "changer"), (0xC, "controller"), (0x1A, "26")])
def test_what_is_no_disk_says_so(kind: int, said: str) -> None:
    """Case 89: a name proves nothing of a unit of another kind."""
    with pytest.raises(NoDisk) as refused:
        designators(page(naa(), kind=kind))
    assert said in str(refused.value)


EUI = "eui.0025385b71b0e3a1"


@pytest.mark.parametrize(
    ("remembered", "wanted", "right"),
    [
        (f"naa.{NAA}", f"naa.{NAA}", True),
        (None, f"naa.{NAA}", True),
        pytest.param(f"naa.{NAA}", EUI, True, id="the kernel remembers another name of the same unit"),
        pytest.param("naa.6001405000000000000000000000000f", f"naa.{NAA}", False, id="it remembers another unit"),
        pytest.param(f"naa.{NAA}\0\0\0\0", f"naa.{NAA}", True, id="filled up with NULs"),
        pytest.param(f"naa.{NAA.upper()}\0", f"naa.{NAA}", True, id="in capitals"),
        pytest.param("naa.6001405000000000000000000000000F\0", f"naa.{NAA}", False, id="another one, in capitals"),
        pytest.param("iqn.2012-06.com.example:t,lun,0\0\0", f"naa.{NAA}", True, id="an iSCSI name"),
        pytest.param("t10.FreeBSD iSCSI DISK      10000001", f"naa.{NAA}", True, id="T10"),
        pytest.param("naa." + "0" * 32, f"naa.{NAA}", True, id="zeros"),
        pytest.param(f"naa.{NAA}", "naa.6001405000000000000000000000000f", False, id="another unit is wanted"),
    ],
)
def test_the_right_unit_by_any_of_its_names(remembered: str | None, wanted: str, right: bool) -> None:
    names = designators(page(naa(), descriptor(BINARY, EUI64, bytes.fromhex(EUI[4:]))))
    path = ScsiPath("6:0:0:1", "10.0.0.1:3260", "/dev/sda", "running", 1, False, remembered, names)
    assert scsi.is_right(path, wanted) is right
    assert scsi.is_wrong(path, wanted) is not right


@pytest.mark.parametrize("wanted", [EUI, f"naa.{NAA}"])
def test_all_that_leads_to_a_unit_has_one_name(wanted: str) -> None:
    """Case 86: whichever of its names the export says, links and map have that which udev and multipath take."""
    names = designators(page(descriptor(BINARY, EUI64, bytes.fromhex(EUI[4:])), naa("3000000072f1c5ba"), naa()))
    path = ScsiPath("6:0:0:1", "10.0.0.1:3260", "/dev/sda", "running", 1, False, None, names)
    assert scsi.main_name([path], wanted) == (f"naa.{NAA}" if wanted == EUI else None)
    assert scsi.identity_of(path, wanted) == wanted and scsi.identity_of(path, None) == f"naa.{NAA}"
    assert unit_names.main({EUI, "naa.5001405335a0af48"}) == "naa.5001405335a0af48"
    assert unit_names.main({EUI, "naa.3000000072f1c5ba"}) == EUI


def test_a_unit_of_another_kind_is_never_right() -> None:
    names = frozenset({f"naa.{NAA}"})
    path = ScsiPath("6:0:0:1", "10.0.0.1:3260", "/dev/sr0", "running", 1, False, None, names, kind="CD or DVD drive")
    assert scsi.is_wrong(path, f"naa.{NAA}") and not scsi.is_right(path, f"naa.{NAA}")
    assert scsi.what_it_is(path) == "a CD or DVD drive and no disk"
