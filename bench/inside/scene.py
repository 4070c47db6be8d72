"""What has to be so in the guest before a contender's turn, and is no part of its time."""

import base64
import http.client
import json
import ssl
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from bench.inside.lun import Lun

STATE = Path("/var/lib/cdmi-server")
PASSWORD = Path("/etc/cdmi-attach/server.password")
ADDRESS, USER = ("127.0.0.1", 8443), "one"
PEER_MOUNTS = Path("/run/bench-peer-nfs")
INITIATOR, FC_HOSTS = Path("/etc/iscsi/initiatorname.iscsi"), Path("/sys/class/fc_host")


def initiators(export: str) -> list[str]:
    """This guest's names in exports of that kind: the one of iSCSI, or those of its Fibre Channel ports."""
    if export == "Network/FC":
        return [(port / "port_name").read_text().strip()[2:] for port in FC_HOSTS.glob("*")]
    return [INITIATOR.read_text().partition("InitiatorName=")[2].split()[0]]


def permit(luns: Iterable[Lun], *, this_host: bool) -> None:
    """Say who may use these LUNs: the contenders that do not grant by themselves get it before their turn."""
    token = base64.b64encode(f"{USER}:{PASSWORD.read_text().strip()}".encode()).decode()
    headers = {
        "Authorization": f"Basic {token}",
        "X-CDMI-Specification-Version": "1.1.1",
        "Content-Type": "application/cdmi-container",
    }
    context = ssl.create_default_context(cafile=str(STATE / "tls/ca.pem"))
    connection = http.client.HTTPSConnection(*ADDRESS, context=context, timeout=60)
    for lun in [lun for lun in luns if lun.export != "Network/NFSv4"]:  # whom NFS lets in is its server's to say
        body = json.dumps({"exports": {lun.export: {"permissions": initiators(lun.export) if this_host else []}}})
        connection.request("PUT", f"/cdmi/{lun.name}/?exports", body, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"permissions of {lun.name}: {answer.status} {text.decode()}")
    connection.close()


def quiet() -> None:
    """Let udev come to its end."""
    run("udevadm", "settle", "--timeout=60")


def forget(luns: Iterable[Lun]) -> None:
    """After a contender's turn: no mount, and no session and no record of these targets stays, whatever it left."""
    for point in _mounts():
        run("umount", point)
    for target in dict.fromkeys(lun.target for lun in luns):
        run("iscsiadm", "-m", "node", "-T", target, "--logout")
        run("iscsiadm", "-m", "node", "-T", target, "-o", "delete")


def left(luns: Iterable[Lun]) -> list[str]:
    """Which of these targets still have a session or a record, and the peer's mounts."""
    said = run("iscsiadm", "-m", "session") + run("iscsiadm", "-m", "node")
    return [lun.target for lun in luns if f"{lun.target}" in said.split()] + _mounts()


def _mounts() -> list[str]:
    points = (line.split()[1] for line in Path("/proc/mounts").read_text().splitlines())
    return [point for point in points if point.startswith(f"{PEER_MOUNTS}/")]


def block(portal: str, *, now: bool) -> None:
    """Drop what goes to a portal, or stop doing so."""
    address, _, port = portal.rpartition(":")
    rule = ("-p", "tcp", "-d", address, "--dport", port, "-j", "DROP")
    run("iptables", "-w", "-I" if now else "-D", "INPUT", *rule, check=now)


def multipathd(*, on: bool) -> None:
    """The multipath daemon, for a peer that asks for it."""
    run("systemctl", "start" if on else "stop", "multipathd.socket", "multipathd.service")
    if not on:
        with suppress(OSError):
            Path("/etc/multipath/wwids").unlink()


def run(*words: str, check: bool = False) -> str:
    """A command of the scene; what it printed."""
    done = subprocess.run(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=check)
    return done.stdout
