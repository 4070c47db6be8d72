"""The libvirt side that needs no libvirt: the disk's element, and the disks of a domain."""

from xml.etree import ElementTree

from agent.host.domains import disks_of
from attachers.disk_xml import disk_xml
from attachers.sights import DomainDisk


def test_the_disk_is_raw_by_its_link_and_never_probed() -> None:
    assert disk_xml("vm1-disk0", "sda", "scsi") == (
        '<disk type="block" device="disk"><driver name="qemu" type="raw" cache="none" discard="unmap" />'
        '<source dev="/run/cdmi-attach/disk/vm1-disk0" /><target dev="sda" bus="scsi" /></disk>'
    )


def test_read_only_and_a_serial_number_are_told() -> None:
    disk = ElementTree.fromstring(disk_xml("a", "vdb", "virtio", read_only=True, serial="<&>"))
    assert disk.find("readonly") is not None
    assert disk.findtext("serial") == "<&>"


def test_the_disks_of_a_domain_by_place_and_source() -> None:
    xml = """<domain><devices>
      <disk type='block'><source dev='/run/cdmi-attach/disk/a'><x/></source><target dev='sda' bus='scsi'/></disk>
      <disk type='file'><source file='/var/lib/a.img'/><target dev='vda'/></disk>
      <disk type='file' device='cdrom'><target dev='hdc'/></disk>
      <disk type='network'><source protocol='rbd' name='p/i'/><target dev='vdb'/></disk>
      <disk type='block'><source dev='/dev/sdx'/></disk>
    </devices><other><disk><target dev='vdz'/></disk></other></domain>"""
    assert disks_of(xml) == (
        DomainDisk("sda", "/run/cdmi-attach/disk/a"),
        DomainDisk("vda", "/var/lib/a.img"),
        DomainDisk("hdc", ""),
        DomainDisk("vdb", ""),
    )
