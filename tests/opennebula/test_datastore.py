"""The datastore's scripts: what may be registered, what is made, what is deleted; by both conventions of arguments."""

import asyncio
import os
from xml.etree import ElementTree

import pytest

from tests.opennebula.life import deployed, failed, ok, two_disks
from tests.opennebula.oned import IMAGES, Lcm, message, source_of
from tests.opennebula.onetm import Done
from tests.opennebula.site import SIZE, Site, put

NUMBER = 9


async def act(site: Site, action: str, **image: object) -> Done:
    return await site.drivers.datastore("cdmi", action, NUMBER, message(NUMBER, **image))


async def printed(site: Site, action: str, **image: object) -> str:
    """What oned takes from its answer, which is one line: of what makes images, the SOURCE."""
    done = await act(site, action, **image)
    ok(done)
    assert done.printed.count("\n") == 1, done.printed
    answer = done.printed.removesuffix("\n")
    return source_of(action, answer) if action in {"cp", "mkfs", "clone"} else answer


@pytest.mark.parametrize("old", [False, True], ids=["since 6.8", "until 6.6"])
async def test_an_object_is_registered_by_its_id(site: Site, old: bool) -> None:
    source = await site.image("debian", size=3 * SIZE // 2)
    for path in (site.by_path("images/debian"), source):
        size, answer = [
            await site.drivers.datastore("cdmi", action, NUMBER, message(NUMBER, PATH=path), old=old)
            for action in ("stat", "cp")
        ]
        assert (size.printed, answer.printed) == ("2\n", f"{source} raw\n"), "MiB, rounded up; and what it is for good"


@pytest.mark.parametrize("action", ["stat", "cp"])
async def test_what_may_not_be_registered(site: Site, action: str) -> None:
    """Another server, another container, one that only looks like it, a disk of a VM, an image that there is."""
    await put(f"{site.server.url}images-of-others/", {})
    await site.lun("images-of-others/theirs")
    await deployed(site, await two_disks(site))
    await printed(site, "mkfs", SIZE=1, FORMAT="raw", CDMI_CONTAINER=site.by_path("images/"))
    refused = {
        "cdmi://elsewhere.example/images/x": "may not be registered",
        site.by_path("vms/one-5-1"): "outside what may be registered",
        site.by_path("images-of-others"): "outside what may be registered",
        site.by_path("images-of-others/theirs"): "outside what may be registered",
        site.by_path("images/../vms/one-5-1"): "",
        site.by_path("images"): "outside what may be registered",
        site.by_path("images/none"): "there is no object",
        site.by_path("images/Größe"): "images/Gr\\xf6\\xdfe' is not an URI (percent-encode",
        site.by_path(f"images/one-img-{NUMBER}"): "is OpenNebula's already: one image 9",
        "/etc/passwd": "may not be imported",
        "https://server.example/x": "may not be imported",
    }
    for path, word in refused.items():
        failed(await act(site, action, PATH=path), word)
    site.configure(ALLOW=site.by_path("vms/"))
    failed(await act(site, action, PATH=site.by_path("vms/one-5-1")), "is OpenNebula's already: one vm 5 disk 1")
    site.configure(ALLOW="")
    await site.image("debian")
    failed(await act(site, action, PATH=site.by_path("images/debian")), "may not be registered")


async def test_its_owner_has_to_say_so_where_that_is_required(site: Site) -> None:
    site.configure(REQUIRE="opennebula=yes")
    await site.image("his")
    await site.image("ours", opennebula="yes")
    failed(await act(site, "stat", PATH=site.by_path("images/his")), "has no metadata opennebula=yes")
    ok(await act(site, "stat", PATH=site.by_path("images/ours")))


@pytest.mark.parametrize(
    "line", ["ALLOW=cdmi://s/x y", "COLOUR=blue", 'ALLOW="', "ON_DELETE=perhaps", "ALLOW=/x", "SITE=a b"]
)
async def test_settings_that_are_wrong_are_said_and_nothing_is_done(site: Site, line: str) -> None:
    conf = site.drivers.remotes / "etc" / "tm" / "cdmi" / "cdmi.conf"
    conf.write_text(f"{conf.read_text()}\n{line}\n", encoding="utf-8")
    failed(await act(site, "rm", SOURCE=await site.image("x")), "cdmi.conf")
    assert site.children("images") == {"x"}


@pytest.mark.parametrize("kind", ["lun", "file"])
async def test_an_empty_image_is_made_once_and_goes_with_its_image(site: Site, kind: str) -> None:
    site.configure(NEW_IMAGES=kind)
    source = await printed(site, "mkfs", SIZE=2, FORMAT="raw")
    assert await printed(site, "mkfs", SIZE=2, FORMAT="raw") == source
    record = site.record("vms/one-img-9")
    assert record and record.metadata["opennebula_owner"] == "one image 9" and source.endswith(record.id)
    size = record.volume.size if record.volume else site.server.store.value_file(record).stat().st_size
    assert size == 2 * SIZE
    for _ in range(2):
        ok(await act(site, "rm", SOURCE=source))
    assert site.children("vms") == set()


@pytest.mark.parametrize("kind", ["lun", "file"])
async def test_one_that_was_begun_elsewhere_and_is_too_small_grows(site: Site, kind: str) -> None:
    """The daemon that has begun it went before it had its size."""
    site.configure(NEW_IMAGES=kind)
    place, other = site.by_path("vms/one-img-9"), site.hosts["hostb"].engine
    wanted = {"kind": "container" if kind == "lun" else "dataobject", "metadata": {"opennebula_owner": "one image 9"}}
    await other.operations.create(place, size=SIZE, wait_s=10, **wanted)  # type: ignore[arg-type]
    await printed(site, "mkfs", SIZE=2, FORMAT="raw")
    assert (await other.objects.stat(place))["size"] == 2 * SIZE


async def test_what_is_not_made(site: Site) -> None:
    failed(await act(site, "mkfs", SIZE=2, FORMAT="raw", FS="ext4"), "no file system")
    failed(await act(site, "mkfs", FORMAT="raw"), "has no size")
    failed(await act(site, "mkfs", SIZE=2, FORMAT="qcow2"), "images here are raw")
    await site.lun("vms/one-img-9")
    failed(await act(site, "mkfs", SIZE=2, FORMAT="raw"), "something else is at")
    site.configure(IMAGES=f"{site.by_path('images/')} cdmi://other.example/images/")
    failed(await act(site, "mkfs", SIZE=2, FORMAT="raw"), "2 containers could be meant")
    failed(await act(site, "snap_flatten", SOURCE="x"), "not supported")


async def test_a_disk_is_saved_where_mkfs_has_said(site: Site) -> None:
    """`onevm disk-saveas`: the transfer file names the SOURCE of that answer."""
    source = await printed(site, "mkfs", FORMAT="save_as", SIZE=1)
    assert source == site.by_path("vms/one-img-9") and site.children("vms") == set()
    vm = await deployed(site, await two_disks(site))
    site.oned.tell(vm, Lcm.HOTPLUG_SAVEAS)
    place = vm.place(site.oned, "hosta", vm.disks[1])
    ok(await site.oned.transfer(vm, [f"CPDS.shared cdmi {place} {source} -1 5 {IMAGES}"]))
    assert site.stamped("vms/one-img-9") == "base5"


async def test_one_object_is_one_image(site: Site) -> None:
    """Two would be attached by two VMs for writing, and the end of the one would be that of the other."""
    source, path = await site.image("debian"), site.by_path("images/debian")
    ok(await act(site, "cp", PATH=path))
    ok(await act(site, "cp", PATH=path))
    for action in ("stat", "cp"):
        failed(await act(site, action, PATH=path, ID=10), "is registered already: one image 9")
    site.configure(ON_DELETE="delete")
    ok(await act(site, "rm", SOURCE=source, ID=10))
    assert site.children("images") == {"debian"}, "another's end is no end of it"
    site.configure(ON_DELETE="keep")
    ok(await act(site, "rm", SOURCE=source))
    ok(await act(site, "cp", PATH=path, ID=10))


async def test_of_two_that_register_an_object_at_once_one_has_it(site: Site) -> None:
    await site.image("debian")
    path = site.by_path("images/debian")
    done = await asyncio.gather(*(act(site, "cp", PATH=path, ID=number) for number in (9, 10, 11)))
    assert sum(one.ok for one in done) == 1


async def test_an_import_that_was_killed_leaves_nothing_for_good(site: Site) -> None:
    """What is attached goes by itself. oned knows no source, and (7.0) asks for no `rm`: that is by hand."""
    site.configure(IMPORT_FROM=str(site.folder))
    site.dd("hosta")
    path, hold = site.folder / "image.raw", site.folder / "hold"
    path.write_bytes(b"image".ljust(2 * SIZE, b"\7"))
    os.mkfifo(hold)
    site.downloader(then=f"cat {hold}")
    script = await site.drivers.start(site.drivers.remotes / "datastore" / "cdmi" / "cp", [str(NUMBER)])
    assert script.stdin
    script.stdin.write(message(NUMBER, PATH=path, SIZE=2).encode())
    script.stdin.close()
    name = f"import-one-img-{NUMBER}"
    await site.until(lambda: site.hosts["hosta"].attached() == {name})
    script.kill()
    await script.wait()
    hold.write_bytes(b"")
    assert site.hosts["hosta"].engine.view(name)["lease"]["seconds"] == 600
    failed(await act(site, "rm", SOURCE="", SIZE=2), f"attached here as {name}")
    await site.hosts["hosta"].engine.detach(name, force=False)  # what the end of its lease does
    ok(await act(site, "rm", SOURCE="", SIZE=2))
    assert site.all_gone() and site.children("vms") == set()


async def test_an_image_is_copied(site: Site) -> None:
    source = await site.image("debian")
    answer = await printed(site, "clone", PATH=source, SIZE=1)
    assert await printed(site, "clone", PATH=source, SIZE=1) == answer
    assert site.stamped("vms/one-img-9") == "debian" and site.permitted("vms/one-img-9") == set()


@pytest.mark.parametrize(
    ("policy", "stays", "told"), [("keep", True, ""), ("modify", True, "no"), ("delete", False, "")]
)
async def test_what_was_registered_ends_as_the_policy_says(site: Site, policy: str, stays: bool, told: str) -> None:
    source = await site.image("debian", opennebula="yes")
    site.configure(ON_DELETE=policy, ON_DELETE_METADATA="opennebula=no")
    for _ in range(2):
        ok(await act(site, "rm", SOURCE=source))
    assert ("debian" in site.children("images")) is stays
    if told:
        record = site.record("images/debian")
        assert record and record.metadata["opennebula"] == told


async def test_deleting_is_for_what_may_be_registered_and_is_free(site: Site) -> None:
    site.configure(ON_DELETE="delete")
    other = await site.lun("kept")
    failed(await act(site, "rm", SOURCE=other), "outside what may be registered")
    vm = await deployed(site, await two_disks(site))
    failed(await act(site, "rm", SOURCE=vm.disks[0].source), "attached here as one-5-0")
    assert site.stamped("images/data5") == "data5" and site.record("kept")


async def test_that_nobody_can_be_asked_is_no_end_of_an_image(site: Site) -> None:
    source = await printed(site, "mkfs", SIZE=1, FORMAT="raw")
    for host in site.hosts:
        site.lose(host)
    failed(await act(site, "rm", SOURCE=source), "cannot be reached")
    assert site.children("vms") == {"one-img-9"}


async def test_how_much_room_there_is(site: Site) -> None:
    done = await act(site, "monitor")
    failed(done, "nothing tells how much room")
    assert 'DATASTORE_CAPACITY_CHECK="NO"' in done.error, "until it knows, oned refuses every image"
    await site.quota("hosta", 10 * SIZE)
    await site.image("debian", size=3 * SIZE)
    done = await act(site, "monitor", CDMI_CONTAINER=site.by_path("images/"))
    ok(done)
    assert done.printed == "USED_MB=3\nTOTAL_MB=10\nFREE_MB=7\n"


@pytest.mark.parametrize("by", ["https", "cdmi"])
async def test_where_others_read_it_from(site: Site, by: str) -> None:
    source = await site.image("debian")
    site.configure(EXPORT_AS=by)
    info = ElementTree.fromstring(await printed(site, "export", SOURCE=source))
    wanted = source if by == "cdmi" else source.replace(f"cdmi://{site.address}/", site.server.url)
    assert str(info.findtext("IMPORT_SOURCE")).rstrip("/") == wanted
    assert [info.findtext(name) for name in ("SIZE", "FORMAT", "DISPOSE")] == ["1", "raw", "NO"]


async def test_snapshots_of_an_image(site: Site) -> None:
    source = await site.image("debian")
    await site.hosts["hosta"].engine.operations.snapshot(source, "one-snap-3", wait_s=10)
    site.stamp("images/debian", "later")
    ok(await act(site, "snap_revert", SOURCE=source, TARGET_SNAPSHOT=3))
    assert site.stamped("images/debian") == "debian"
    for _ in range(2):
        ok(await act(site, "snap_delete", SOURCE=source, TARGET_SNAPSHOT=3))
    failed(await act(site, "snap_revert", SOURCE=source, TARGET_SNAPSHOT=3), "one-snap-3")


async def test_a_file_is_imported_whole_or_not_at_all(site: Site) -> None:
    site.configure(NEW_IMAGES="file", IMPORT_FROM=str(site.folder / "files"))
    site.downloader()
    (site.folder / "files").mkdir()
    path = site.folder / "files" / "image.raw"
    path.write_bytes(b"image".ljust(3 * SIZE + 77, b"\7"))
    assert await printed(site, "stat", PATH=path) == "4"
    site.downloader(breaks=True)
    failed(await act(site, "cp", PATH=path, SIZE=4), "could not be read to its end")
    assert site.children("vms") == set()
    site.downloader()
    answer = await printed(site, "cp", PATH=path, SIZE=4)
    record = site.record("vms/one-img-9")
    assert record and site.server.store.value_file(record).read_bytes() == path.read_bytes()
    assert answer == f"cdmi://{site.address}/cdmi_objectid/{record.id}"
    assert record.metadata["opennebula_owner"] == "one image 9"
    failed(await act(site, "cp", PATH=path, SIZE=4), "one-img-9")
    path.write_bytes(b"QFI\xfb and so on")
    failed(await act(site, "cp", PATH=path, SIZE=4, ID=10), "is qcow2")
    (site.folder / "files" / "out").symlink_to("/etc")
    failed(await act(site, "cp", PATH=site.folder / "files" / "out" / "passwd", SIZE=4), "may not be imported")


async def test_a_file_becomes_a_lun(site: Site) -> None:
    """Written by the host that attaches it meanwhile; what breaks off is deleted."""
    site.configure(IMPORT_FROM=str(site.folder / "files"))
    site.downloader()
    site.dd("hosta")
    (site.folder / "files").mkdir()
    path = site.folder / "files" / "image.raw"
    path.write_bytes(b"image".ljust(SIZE, b"\7"))
    await printed(site, "cp", PATH=path, SIZE=1)
    assert (site.folder / "hosts" / "hosta" / "written").read_bytes() == path.read_bytes()
    assert (site.folder / "hosts" / "hosta" / "dd.of").read_text() == "/run/cdmi-attach/disk/import-one-img-9"
    assert site.all_gone() and site.children("vms") == {"one-img-9"}
    ok(await act(site, "rm", SOURCE=site.by_path("vms/one-img-9")))
    site.downloader(breaks=True)
    failed(await act(site, "cp", PATH=path, SIZE=1), "could not be read to its end")
    assert site.all_gone() and site.children("vms") == set()
