"""`make soak`: kill -9 of daemon and helper at random moments of attach and detach, on the real kernel, for long."""

import argparse
import json
import random
import subprocess
import sys

from tests.lab import fleet
from tests.lab.cache import open_cache
from tests.lab.stage import Stage

ROOT = "/srv/cdmi-nfs"


def files(stage: Stage) -> list[dict[str, str]]:
    """Files on NFS, to be attached as disks and as they are."""
    stage.guest.run(
        f"mkdir -p {ROOT}/pool && systemctl start nfs-server && "
        f"exportfs -o rw,no_root_squash,insecure,no_subtree_check '*:{ROOT}/pool'"
    )
    stage.cdmi("PUT", "/pool/", {"metadata": {"x_nfs_path": f"127.0.0.1:{ROOT}/pool", "x_nfs_protocol": "NFSv4"}})
    found = []
    for number, present in enumerate(("block", "file", "block", "file")):
        stamp = f"the stamp of file {number}"
        stage.write_blocks(f"/pool/{number}.img", stamp.encode().ljust(1 << 20, b"\0"))
        made = stage.cdmi("GET", f"/pool/{number}.img?objectID", kind="object")
        source = f"cdmi://127.0.0.1:8443/cdmi_objectid/{made['objectID']}"
        found.append({"source": source, "present": present, "stamp": stamp, "export": ""})
    return found


def main() -> int:
    """Bring up a guest, and let `inside_soak` run in it. Returns its exit status; the seed is said at the start."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--over", choices=("all", "iscsi", "nfs"), default="all")
    options = parser.parse_args()
    print(f"{options.cycles} cycles, seed {options.seed}", flush=True)
    cache = open_cache()
    guest = fleet.up(cache, "soak", "bookworm")
    try:
        stage = Stage(guest)
        stage.start_server("--nfs-root", ROOT)
        stage.start_daemon()
        luns = []
        for number in range(4):
            name = f"soak{number}"
            stamp = f"the stamp of {name}"
            lun = stage.make_lun(name, target=f"soak-{number // 2}", content=stamp.encode().ljust(512, b"\0"))
            export = "\t".join(stage.read_export(name))
            luns.append({"source": lun.source, "present": "block", "stamp": stamp, "export": export})
        luns = [*(luns if options.over != "nfs" else ()), *(files(stage) if options.over != "iscsi" else ())]
        command = f"cd /opt/cdmi-attach && exec python3 -m tests.lab.inside_soak {options.cycles} {options.seed}"
        done = subprocess.run(guest.argv(command), cwd=guest.place.folder, input=json.dumps(luns), text=True)
        if done.returncode:
            print(guest.run("journalctl -b --no-pager | tail -n 300", check=False).stdout)
        return done.returncode
    finally:
        fleet.down(cache, "soak")


if __name__ == "__main__":
    sys.exit(main())
