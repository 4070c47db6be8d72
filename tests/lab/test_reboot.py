"""A host that was restarted has its attachments back, each with the right disk, and can still let go of all of them."""

from tests.lab.guest import Guest
from tests.lab.stage import Stage

FILES = "/srv/cdmi-nfs"


def a_file(stage: Stage) -> str:
    """A data object in a container that is exported over NFS, also after a reboot. Returns its source."""
    options = "rw,no_root_squash,insecure,no_subtree_check"
    stage.guest.write("/etc/nfs.conf.d/short.conf", "[nfsd]\ngrace-time=10\nlease-time=10\n")
    stage.guest.write("/etc/exports", f"{FILES}/pool *({options})\n")
    stage.guest.run(f"mkdir -p {FILES}/pool && systemctl enable --quiet --now nfs-server")
    stage.cdmi("PUT", "/pool/", {"metadata": {"x_nfs_path": f"127.0.0.1:{FILES}/pool", "x_nfs_protocol": "NFSv4"}})
    stage.write_blocks("/pool/again.img", b"stamp 2".ljust(1 << 20, b"\0"))
    made = stage.cdmi("GET", "/pool/again.img?objectID", kind="object")
    return f"cdmi://127.0.0.1:8443/cdmi_objectid/{made['objectID']}"


def test_attachments_come_back_after_a_reboot(guest: Guest) -> None:
    stage = Stage(guest)
    stage.start_server("--nfs-root", FILES)
    stage.start_daemon()
    empty = stage.inventory()
    luns = [
        stage.make_lun(f"again{n}", target="again", content=f"stamp {n}".encode().ljust(512, b"\0")) for n in (0, 1)
    ]
    sources = {lun.name: lun.source for lun in luns} | {"again2": a_file(stage)}
    for name, source in sources.items():
        stage.attach(name, source)
    guest.reboot()
    assert guest.run("iscsiadm -m session", check=False).stdout == "", "nobody else logs in at boot"
    stage.start_server("--nfs-root", FILES)
    for number, (name, source) in enumerate(sources.items()):
        status, view = stage.api("PUT", f"/v1/attachments/{name}", {"source": source})
        assert (status, view["phase"], view["verified"]) == (200, "attached", True), view
        read = f"dd if=/run/cdmi-attach/disk/{name} bs=512 count=1 iflag=direct status=none | head -c 7"
        assert guest.run(read).stdout == f"stamp {number}"
    stage.detach("again2")
    assert guest.run("findmnt -n -t nfs4", check=False).stdout == ""
    for lun in luns:
        stage.detach(lun.name)
        assert stage.export(lun.name)["permissions"] == []
    assert stage.inventory() == empty
    assert stage.defects() == ""
