"""Names and portals in exports as real targets have them: taken as they are written, or left out and said."""

import pytest

from tests.unit.test_cdmi_exports import read

LONGEST = "iqn.2010-01.com.x:" + "a" * (223 - 18)


@pytest.mark.parametrize(
    ("member", "value", "field", "wanted"),
    [
        (
            "target_identifier",
            "iqn.2000-01.com.synology:DiskStation.T-1",
            "target",
            "iqn.2000-01.com.synology:DiskStation.T-1",
        ),
        ("target_identifier", "iqn.2015-1.workgroup:RAID.vg0", "target", "iqn.2015-1.workgroup:RAID.vg0"),
        ("target_identifier", "iqn.com.sgmsys-10", "target", "iqn.com.sgmsys-10"),
        ("target_identifier", "iqn.2012-07:dss.target0", "target", "iqn.2012-07:dss.target0"),
        ("target_identifier", "10.10.10.4:vol1", "target", "10.10.10.4:vol1"),
        ("target_identifier", "iqn.2004-01.com.storage_vendor:t1", "target", "iqn.2004-01.com.storage_vendor:t1"),
        ("target_identifier", LONGEST, "target", LONGEST),
        ("logical_unit_name", " 0x6001ABCD000000000000000000000001", "wwid", "naa.6001abcd000000000000000000000001"),
        ("logical_unit_name", "0x" + "0" * 32, "wwid", None),
        ("logical_unit_name", "60000000000000000e00000000010001", "wwid", None),
        ("logical_unit_name", "naa.3000000072f1c5ba", "wwid", "naa.3000000072f1c5ba"),
        ("portals", ["10.0.0.1", "fe80::1%eth0", "", None, "10.0.0.1:0"], "portals", ["10.0.0.1:3260"]),
    ],
)
def test_names_and_portals_of_real_targets(member: str, value: object, field: str, wanted: object) -> None:
    """Cases 81, 85 and 89."""
    seen = read("Network/iSCSI", **{member: value})
    assert seen.plan is not None and seen.plan[field] == wanted


def test_a_portal_that_is_left_out_is_named() -> None:
    """Case 85: one odd portal does not spoil the list."""
    seen = read("Network/iSCSI", portals=["10.0.0.1", "fe80::1%eth0", None])
    assert [note for note in seen.notes if note.startswith("left out:")] == [
        "left out: exports.\"Network/iSCSI\".portals[1]: 'fe80::1%eth0' is not an address without a scope",
        'left out: exports."Network/iSCSI".portals[2]: None is not a portal such as 10.0.0.1:3260, [fd00::1]:3260 or '
        "san.example.org",
    ]


@pytest.mark.parametrize(
    ("name", "said"),
    [("0x" + "0" * 32, "nobody has named"), ("naa.3000000072f1c5ba", "trust_local_names"), (None, "no logical unit")],
)
def test_a_name_that_proves_nothing_is_told(name: str | None, said: str) -> None:
    """Case 89."""
    assert any(said in note for note in read("Network/iSCSI", logical_unit_name=name).notes)
