"""The libvirt disk element of an attachment: raw, by its link, never probed."""

from xml.etree import ElementTree

from attachers.steps import LINKS


def disk_xml(
    name: str, target: str, bus: str, *, read_only: bool = False, serial: str = "", kind: str = "block"
) -> str:
    """The `<disk>` element (https://libvirt.org/formatdomain.html) that hands the disk of an attachment to a domain.

    `target` is the disk's place (sda, vdb), `bus` is scsi, virtio or sata; the guest sees `serial` where it is given.
    `kind` says whether the link leads to a device (block) or to a file: whatever a file's header looks like, it is raw.
    """
    disk = ElementTree.Element("disk", type=kind, device="disk")
    ElementTree.SubElement(disk, "driver", name="qemu", type="raw", cache="none", discard="unmap")
    ElementTree.SubElement(disk, "source", {"file" if kind == "file" else "dev": f"{LINKS}/{name}"})
    ElementTree.SubElement(disk, "target", dev=target, bus=bus)
    if read_only:
        ElementTree.SubElement(disk, "readonly")
    if serial:
        ElementTree.SubElement(disk, "serial").text = serial
    return ElementTree.tostring(disk, encoding="unicode")
