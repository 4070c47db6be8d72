"""A host that was restarted has its attachments back, each with the right disk, and can still let go of all of them."""

from tests.lab.guest import Guest
from tests.lab.stage import Stage


def test_attachments_come_back_after_a_reboot(guest: Guest) -> None:
    stage = Stage(guest).set()
    empty = stage.inventory()
    luns = [
        stage.make_lun(f"again{n}", target="again", content=f"stamp {n}".encode().ljust(512, b"\0")) for n in (0, 1)
    ]
    for lun in luns:
        stage.attach(lun.name, lun.source)
    guest.reboot()
    assert guest.run("iscsiadm -m session", check=False).stdout == "", "nobody else logs in at boot"
    stage.start_server()
    for number, lun in enumerate(luns):
        status, view = stage.api("PUT", f"/v1/attachments/{lun.name}", {"source": lun.source})
        assert (status, view["phase"], view["verified"]) == (200, "attached", True), view
        read = f"dd if=/run/cdmi-attach/disk/{lun.name} bs=512 count=1 iflag=direct status=none | head -c 7"
        assert guest.run(read).stdout == f"stamp {number}"
    for lun in luns:
        stage.detach(lun.name)
        assert stage.export(lun.name)["permissions"] == []
    assert stage.inventory() == empty
