"""Lab guests become an OpenNebula site: the user and the settings of its packages, and our installer, run by root."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from tests.lab.cache import CHECKOUT
from tests.lab.guest import Guest
from tests.lab.stage import Stage
from tests.opennebula.front_end import EXECRC_7, ONED_7
from tests.opennebula.oned import FRONT_END

USER, HOME, PROGRAMS = "oneadmin", "/var/lib/one", "/usr/local/bin"
REMOTES, TOLD, SSH = f"{HOME}/remotes", f"{HOME}/told", f"{HOME}/.ssh"
KEY = f"{SSH}/id_ed25519"
SOURCES = "/opt/cdmi-attach"
SSH_CONFIG = """\
Host *
BatchMode yes
StrictHostKeyChecking no
UserKnownHostsFile /dev/null
LogLevel ERROR
ServerAliveInterval 10
KexAlgorithms curve25519-sha256
HostKeyAlgorithms ssh-ed25519
"""
CONF = """\
ALLOW="cdmi://{server}/images/"
CLONES="cdmi://{server}/vms/"
FRONT_END="{front_end}"
"""
PATIENT = "/etc/cdmi-attach/conf.d/40-patient.toml"
"""An emulated machine that others keep busy: a script of oned's waits for as long as the daemon does."""
ONEVM = (
    f"#!/bin/sh\n# onevm show -x VM; onevm list -x\n[ $1 != list ] || exec echo '<VM_POOL/>'\nexec cat {TOLD}/$3.xml\n"
)
ONEHOST = f"#!/bin/sh\n# onehost list -x\nexec cat {TOLD}/hosts.xml\n"
HOST_ERROR = f"{REMOTES}/hooks/ft/host_error.rb"
MADE_ANEW = f"{TOLD}/made-anew"
STOCK_HOOK = f"#!/bin/sh\n# OpenNebula's own: it has the VMs of a lost host made anew\nexec cat >{MADE_ANEW}\n"
LIBVIRTD = 'unix_sock_rw_perms = "0777"\\nauth_unix_ro = "none"\\nauth_unix_rw = "none"\\n'
QEMU = f'user = "{USER}"\\ngroup = "{USER}"\\ndynamic_ownership = 0\\n'
USER_MADE = (
    f"set -e; useradd --uid 9869 --user-group --home-dir {HOME} --create-home --shell /bin/bash {USER}; "
    f"usermod -p '*' {USER}; mkdir -m 700 {SSH}; cat >{SSH}/config; printf '{LIBVIRTD}' >>/etc/libvirt/libvirtd.conf; "
    f"printf '{QEMU}' >>/etc/libvirt/qemu.conf; systemctl try-restart libvirtd.service; "
)
"""What OpenNebula's packages do on a host. Its user has no password; libvirt is asked by whoever gets at its socket."""
LETS_IN = f"ssh-keygen -y -f {KEY} >>{SSH}/authorized_keys"
OWNED = f"chown -R {USER}:{USER} {HOME}"


def make_host(guest: Guest, names: Mapping[str, str], key: str = "") -> None:
    """A host whose daemon is configured, with the names of all (addresses by name).

    `key` is what oneadmin logs in to hosts with, from the front-end and from host to host; the front-end makes it.
    """
    guest.push_all(CHECKOUT, ["opennebula"], SOURCES)
    guest.write(PATIENT, "[attach]\ntimeout_s = 300\n")
    hosts = "".join(f"{address} {name}\n" for name, address in names.items())
    known = f"printf %s {shlex.quote(hosts)} | cat - /etc/hosts >/etc/hosts.new; mv /etc/hosts.new /etc/hosts; "
    guest.run(f"{USER_MADE}{known}{OWNED}", input=SSH_CONFIG)
    if key:
        guest.run(f"umask 077; cat >{KEY}; {LETS_IN}; {OWNED}", input=key)
    guest.run(f"{SOURCES}/opennebula/install --host --yes && systemctl reload cdmi-attachd")


def make_front_end(stage: Stage) -> frozenset[Path]:
    """A host (`make_host`) becomes the front-end as well. Returns the scripts that it has.

    OpenNebula's own files are as they were before; stand-ins are there for its commands, and for its system datastores.
    """
    guest = stage.guest
    guest.write("/etc/one/oned.conf", ONED_7)
    guest.write("/etc/one/vmm_exec/vmm_execrc", EXECRC_7)
    for program, text in ((f"{PROGRAMS}/onevm", ONEVM), (f"{PROGRAMS}/onehost", ONEHOST), (HOST_ERROR, STOCK_HOOK)):
        guest.write(program, text, mode=0o755)
    guest.run(
        f"set -e; mkdir -p {REMOTES} {TOLD} {HOME}/datastores; cp -r {SOURCES}/tests/opennebula/stock/tm {REMOTES}/; "
        f"ssh-keygen -q -t ed25519 -N '' -f {KEY}; {LETS_IN}; {OWNED}"
    )
    guest.run(f"{SOURCES}/opennebula/install --front-end --yes")
    conf = CONF.format(server=f"{stage.server}:8443", front_end=FRONT_END)
    found = guest.run(
        f"cat >>{REMOTES}/etc/tm/cdmi/cdmi.conf && find {REMOTES}/tm -type f -perm -100", input=conf
    ).stdout
    return frozenset(map(Path, found.split()))
