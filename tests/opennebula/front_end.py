"""A machine's tree with an OpenNebula in it that was never installed: its configuration in the forms of 6.x and 7.x.

Written from what the releases are known to say, not copied from them.
"""

import os
import pwd
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INSTALL = ROOT / "opennebula" / "install"
ME = pwd.getpwuid(os.getuid()).pw_name

ONED_6 = """\
#*******************************************************************************
# Daemon configuration attributes
#*******************************************************************************

LOG = [
  SYSTEM      = "file",
  DEBUG_LEVEL = 3
]

MONITORING_INTERVAL_HOST      = 180
DB = [ BACKEND = "mysql", SERVER = "localhost", PASSWD = "p#]=\\"x", DB_NAME = "opennebula" ]

# TM_MAD = [ EXECUTABLE = "one_tm", ARGUMENTS = "-t 15 -d old" ]
TM_MAD = [
    EXECUTABLE = "one_tm",
    ARGUMENTS = "-t 15 -d dummy,lvm,shared,fs_lvm,fs_lvm_ssh,qcow2,ssh,ceph,dev,vcenter,iscsi_libvirt"
]

DATASTORE_MAD = [
    EXECUTABLE = "one_datastore",
    ARGUMENTS  = "-t 15 -d dummy,fs,lvm,ceph,dev,iscsi_libvirt,vcenter,restic,rsync -s shared,ssh,ceph,fs_lvm,qcow2"
]

INHERIT_DATASTORE_ATTR  = "CEPH_HOST"

TM_MAD_CONF = [
    NAME = "shared", LN_TARGET = "NONE", CLONE_TARGET = "SYSTEM", SHARED = "YES",
    DS_MIGRATE = "YES", TM_MAD_SYSTEM = "ssh", LN_TARGET_SSH = "SYSTEM",
    CLONE_TARGET_SSH = "SYSTEM", DISK_TYPE_SSH = "FILE"
]

DS_MAD_CONF = [
    NAME = "fs", REQUIRED_ATTRS = "", PERSISTENT_ONLY = "NO",
    MARKETPLACE_ACTIONS = "export"
]
"""
ONED_7 = """\
# Attributes in lower case, and no newline at the end.
tm_mad = [ executable = "one_tm", arguments = "-t 15 -d dummy,lvm,shared,qcow2,local,ssh,ceph,dev,iscsi_libvirt" ]
datastore_mad = [
    executable = "one_datastore",
    arguments  = "-w 120 -t 15 -d dummy,fs,lvm,ceph,dev,rsync -s shared,local,ssh,ceph,qcow2" ]  # two lists
ds_mad_conf = [
    name = "rsync", required_attrs = "RSYNC_HOST,RSYNC_USER", persistent_only = "YES"
]
IMAGE_RESTRICTED_ATTR = "SOURCE\""""
EXECRC_6 = """\
# VMM-TM pairs
LIVE_DISK_SNAPSHOTS="kvm-qcow2 kvm-shared kvm-ceph kvm-ssh qemu-qcow2 qemu-shared"

VNMAD_LOCAL_ACTIONS="elastic-post elastic-clean"
"""
EXECRC_7 = 'LIVE_DISK_SNAPSHOTS="kvm-qcow2 kvm-local"\n'
RELEASES = {"6": (ONED_6, EXECRC_6), "7": (ONED_7, EXECRC_7)}
SUDOERS = """\
Cmnd_Alias ONE_NET = /usr/sbin/ip, /usr/sbin/brctl
Cmnd_Alias ONE_ISCSI = /usr/sbin/iscsiadm, \\
    /usr/sbin/multipath, /usr/bin/tee /sys/class/scsi_host/*
Cmnd_Alias ONE_MIXED = /usr/bin/mount, /usr/bin/cat
oneadmin ALL=(ALL:ALL) NOPASSWD: ONE_NET, ONE_ISCSI, ONE_MIXED
"""
MEMBERS = """\
#!/bin/sh
# usermod -aG GROUP USER, gpasswd -d USER GROUP: in this tree
echo "${{0##*/}} $*" >>{root}/ran
case $1 in
-aG) sed -i "s/^$2:x:\\([0-9]*\\):/&$3,/" {root}/etc/group;;
-d) sed -i "s/^\\($3:x:[0-9]*:\\)$2,/\\1/" {root}/etc/group;;
esac
"""


@dataclass
class Machine:
    """A tree, and the installer run on it. `home` is ONE_LOCATION within it, empty where packages were used."""

    root: Path
    release: str = "7"
    home: str = ""
    etc: Path = field(init=False)
    remotes: Path = field(init=False)

    def __post_init__(self) -> None:
        here = self.root / self.home.lstrip("/")
        self.etc = here / "etc" if self.home else self.root / "etc" / "one"
        self.remotes = (here / "var" if self.home else self.root / "var" / "lib" / "one") / "remotes"
        oned, execrc = RELEASES[self.release]
        self.put(self.oned, oned, mode=0o640)
        self.put(self.execrc, execrc)
        self.put(self.remotes / "tm" / "shared" / "ln", "#!/bin/bash\n")
        self.put(self.root / "etc" / "group", f"{ME}:x:1:\ncdmi-attach:x:990:\n")
        self.put(self.root / "etc" / "sudoers.d" / "opennebula", SUDOERS)
        self.put(self.root / "etc" / "cdmi-attach" / "config.toml", '[socket]\ngroup = "cdmi-attach"\n[attach]\n')
        for name in ("usermod", "gpasswd"):
            self.put(self.root / "bin" / name, MEMBERS.format(root=self.root), mode=0o755)

    @property
    def oned(self) -> Path:
        return self.etc / "oned.conf"

    @property
    def execrc(self) -> Path:
        return self.etc / "vmm_exec" / "vmm_execrc"

    @property
    def conf(self) -> Path:
        return self.remotes / "etc" / "tm" / "cdmi" / "cdmi.conf"

    @property
    def drop_in(self) -> Path:
        return self.root / "etc" / "cdmi-attach" / "conf.d" / "50-opennebula.toml"

    def put(self, path: Path, text: str, *, mode: int = 0o644) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)

    def run(self, *words: str, yes: bool = True, program: Path = INSTALL) -> subprocess.CompletedProcess[str]:
        """Run the installer, or another program of ours, whose standard input is no terminal."""
        location = {"ONE_LOCATION": self.home} if self.home else {}
        environ = {"PATH": f"{self.root / 'bin'}:/usr/bin:/bin", **location}
        command = [str(program), "--root", str(self.root), "--owner", ME, *words, *(["--yes"] if yes else [])]
        return subprocess.run(
            command, capture_output=True, text=True, env=environ, stdin=subprocess.DEVNULL, timeout=60, check=False
        )

    def files(self) -> dict[str, tuple[int, bytes]]:
        """Every file of the tree: mode and bytes; a link's are where it leads."""
        found = {}
        for path in self.root.rglob("*"):
            name, mode = str(path.relative_to(self.root)), path.lstat().st_mode
            if path.is_symlink():
                found[name] = (mode, os.fsencode(path.readlink()))
            elif path.is_file() and name != "ran":
                found[name] = (mode, path.read_bytes())
        return found
