"""The scene in a lab guest: a CDMI server with real iSCSI targets, the daemon configured for it, a libvirt domain."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.lab import published
from tests.lab.guest import Guest

URL = "https://127.0.0.1:8443/cdmi"
STATE = "/var/lib/cdmi-server"
SERVICES = ("cdmi-attachd.service", "cdmi-attach-helperd.service")
USER, PASSWORD = "one", "correct horse"
SERIAL = "/var/log/libvirt/qemu/{}.serial"
LUN_SIZE = 32 << 20

NETWORKS = "127.0.0.0/8"
CONFIG = f"""\
[socket]
group = "cdmi-attach"

[[server]]
url = "{URL}/"
aliases = ["store.example.org"]
user = "{USER}"
password_file = "/etc/cdmi-attach/server.password"
ca_file = "/etc/cdmi-attach/server-ca.pem"
storage_networks = ["127.0.0.0/8", "10.88.0.0/16"]
"""

ATTACH = '\n[attach]\nprotocols = ["iscsi", "nfs"]\n'
DOMAIN = """\
<domain type='qemu'>
  <name>{name}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os>
  <on_reboot>destroy</on_reboot>
  <devices>
    <controller type='scsi' model='virtio-scsi'/>
    <controller type='usb' model='none'/>
    <serial type='file'><source path='{serial}'/><target port='0'/></serial>
    <memballoon model='none'/>
    {disk}
  </devices>
</domain>
"""


@dataclass(frozen=True)
class Lun:
    """A LUN container on the server, and the source that attaches it."""

    name: str
    object_id: str
    wwid: str
    target: str

    @property
    def source(self) -> str:
        return f"cdmi://127.0.0.1:8443/cdmi_objectid/{self.object_id}"


@dataclass(frozen=True)
class Stage:
    """A guest with everything on it. Every call is a conversation with the real parts: curl, virsh, systemctl."""

    guest: Guest
    server: str = "127.0.0.1"
    """Where the CDMI server is, as this guest reaches it."""

    def set(self, *server: str, config: str = ATTACH) -> "Stage":
        """Start the server, with these options more, and give the daemon its configuration, with these lines more."""
        self.start_server(*server)
        self.start_daemon(config)
        return self

    def start_daemon(self, config: str = ATTACH, *, networks: str = NETWORKS) -> None:
        """Give the daemon its configuration, with these lines more, and start it. The server has to run."""
        text = CONFIG.replace(NETWORKS, networks).replace(URL, self.url)
        self.guest.write("/etc/cdmi-attach/config.toml", text + config)
        self.guest.run(
            f"cp {STATE}/tls/ca.pem /etc/cdmi-attach/server-ca.pem && "
            "cd /etc/cdmi-attach && chown root:cdmi-attach config.toml *.p* && chmod 0640 config.toml *.p* && "
            "chown cdmi-attach /etc/cdmi-attach/server.password && chmod 0400 /etc/cdmi-attach/server.password && "
            "systemctl start cdmi-attachd.socket cdmi-attach-helperd.socket && systemctl restart cdmi-attachd.service"
        )

    def configure(self, more: str = "", *, networks: str = NETWORKS) -> None:
        """Give the daemon its configuration anew, with more lines for its server."""
        self.guest.write("/etc/cdmi-attach/config.toml", CONFIG.replace(NETWORKS, networks) + more + ATTACH)
        self.guest.run("systemctl reload cdmi-attachd.service")

    def start_server(
        self, *more: str, portals: Sequence[str] = ("127.0.0.1", "127.0.0.2"), at_boot: bool = False
    ) -> None:
        """The CDMI server as a service of its own, with LIO targets on these portals; `at_boot` after reboots, too."""
        portals = [word for ip in portals for word in ("--portal", ip)]
        command = [
            *("/usr/bin/python3", "-m", "tests.cdmi_server", "--state", STATE, "--listen", "127.0.0.1:8443"),
            *(
                "--targets",
                "lio",
                *portals,
                "--user",
                USER,
                "--password-file",
                "/etc/cdmi-attach/server.password",
                *more,
            ),
        ]
        unit = ["--unit=cdmi-server", "--service-type=notify", "--property=WorkingDirectory=/opt/cdmi-attach"]
        self.guest.write("/etc/cdmi-attach/server.password", PASSWORD)
        secret = "/etc/cdmi-attach/server.password"
        self.guest.run(f"mkdir -p {STATE} && chown cdmi-attach {secret} && chmod 0400 {secret}")
        if not at_boot:
            self.guest.run(["systemd-run", "--quiet", *unit, *command])
            return
        service = f"Type=notify\nWorkingDirectory=/opt/cdmi-attach\nExecStart={shlex.join(command)}\n"
        # As if it were elsewhere: it goes when libvirt has let go of its guests' disks.
        order = "[Unit]\nBefore=libvirtd.service\n"
        text = f"{order}[Service]\n{service}[Install]\nWantedBy=multi-user.target\n"
        self.guest.write("/etc/systemd/system/cdmi-server.service", text)
        self.guest.run("systemctl enable --quiet --now cdmi-server.service")

    def cdmi(self, method: str, path: str, body: Any = None, *, kind: str = "container") -> Any:
        """One CDMI request by curl. Returns the JSON of the answer, None where there is none."""
        words = [*self._curl(method, path), "-H", "X-CDMI-Specification-Version: 1.1.1"]
        if body is not None:
            words += ["-H", f"Content-Type: application/cdmi-{kind}", "--data-binary", "@-"]
        answer = self.guest.run(words, input="" if body is None else json.dumps(body)).stdout
        return json.loads(answer) if answer.strip() else None

    def write_blocks(self, path: str, data: bytes) -> None:
        """Put bytes at the start of a LUN (or a value into a data object) by plain HTTP."""
        hexed = data.rstrip(b"\0").hex()
        fill = f"import sys; sys.stdout.buffer.write(bytes.fromhex(sys.stdin.read()).ljust({len(data)}, bytes(1)))"
        self.guest.run(
            f"python3 -c '{fill}' | {shlex.join([*self._curl('PUT', path), '--data-binary', '@-'])}", input=hexed
        )

    def upload(self, path: str, file: str) -> None:
        """Put a file of the guest into a LUN or a data object, by plain HTTP."""
        self.guest.run([*self._curl("PUT", path), "--data-binary", f"@{file}"])

    def write_part(self, path: str, first: int, text: str) -> None:
        """Put text into a value from there on; it stays the same file."""
        part = f"Content-Range: bytes {first}-{first + len(text) - 1}/*"
        self.guest.run([*self._curl("PUT", path), "-H", part, "--data-binary", text])

    def make_lun(
        self,
        name: str,
        *,
        target: str = "",
        size: int = LUN_SIZE,
        permissions: Sequence[str] = (),
        content: bytes = b"",
        lun: int | None = None,
        flat: bool = False,
    ) -> Lun:
        """A LUN container on the server; with `target`, beside others on that target; `lun` is its number there, `flat`
        that the target answers it in flat space addressing.
        """
        metadata = {"cdmi_assignedsize": str(size)} | ({"x_target": target} if target else {})
        metadata |= {"x_lun": str(lun)} if lun is not None else {}
        metadata |= {"x_flat": "yes"} if flat else {}
        exports = {"Network/iSCSI": {"permissions": list(permissions)}}
        made = self.cdmi("PUT", f"/{name}/", {"metadata": metadata, "exports": exports})
        if content:
            self.write_blocks(f"/{name}/", content)
        export = made["exports"]["Network/iSCSI"]
        wwid = export["logical_unit_name"].lower().replace("0x", "naa.")
        return Lun(name, made["objectID"], wwid, export["target_identifier"].partition(",")[0])

    def export(self, name: str) -> Mapping[str, Any]:
        """The iSCSI export of a LUN, as the server tells it."""
        answer = self.cdmi("GET", f"/{name}/?exports")
        entry: Mapping[str, Any] = answer["exports"]["Network/iSCSI"]
        return entry

    def permissions(self, name: str) -> list[str]:
        """Who may use a LUN, by whatever export."""
        entries = self.cdmi("GET", f"/{name}/?exports")["exports"].values()
        return [initiator for entry in entries for initiator in entry["permissions"]]

    def read_export(self, name: str) -> list[str]:
        """The command that reads the exports of a LUN, for whoever runs it in the guest."""
        return [*self._curl("GET", f"/{name}/?exports"), "-H", "X-CDMI-Specification-Version: 1.1.1"]

    def read_value(self, name: str, *, file: bool = False) -> list[str]:
        """The command that reads the blocks of a LUN, or the value of a data object (`file`), by plain HTTP."""
        return self._curl("GET", f"/{name}" if file else f"/{name}/")

    def swap(self, one: str, other: str) -> None:
        """Exchange what answers at two LUNs' numbers, behind everybody's back."""
        words = [*self._curl("POST", "/.admin/swap", root=False), "-H", "Content-Type: application/json", "-d", "@-"]
        self.guest.run(words, input=json.dumps({"uri_a": f"/{one}/", "uri_b": f"/{other}/"}))

    def resize(self, name: str, size: int) -> None:
        """Give a LUN another size on the server; nobody is told."""
        words = [*self._curl("POST", "/.admin/resize", root=False), "-H", "Content-Type: application/json", "-d", "@-"]
        self.guest.run(words, input=json.dumps({"uri": f"/{name}/", "size": size}))

    def fault(self, fault: Mapping[str, Any]) -> None:
        """Let the server do something wrong (tests/cdmi_server/README.md, Faults)."""
        words = [*self._curl("POST", "/.faults", root=False), "-H", "Content-Type: application/json", "-d", "@-"]
        self.guest.run(words, input=json.dumps(fault))

    def clear_faults(self) -> None:
        """Let it do everything right again."""
        self.guest.run(self._curl("DELETE", "/.faults", root=False))

    @property
    def url(self) -> str:
        """The server's root URI, without a slash at its end."""
        return URL.replace("127.0.0.1", self.server)

    def _curl(self, method: str, path: str, *, root: bool = True) -> list[str]:
        base = self.url if root else self.url.removesuffix("/cdmi")
        ca = f"{STATE}/tls/ca.pem"
        return [
            "curl",
            "-sS",
            "--fail-with-body",
            "--cacert",
            ca,
            "-u",
            f"{USER}:{PASSWORD}",
            "-X",
            method,
            base + path,
        ]

    def attach(self, name: str, source: str, *more: str) -> str:
        """`cdmi-attach attach`. Returns what it prints: the link."""
        return self.guest.run(["cdmi-attach", "attach", source, "--name", name, *more]).stdout.strip()

    def detach(self, name: str) -> None:
        """`cdmi-attach detach`."""
        self.guest.run(["cdmi-attach", "detach", name])

    def give_up(self, name: str) -> list[str]:
        """`cdmi-attach detach --force`, and what it says that is lost; then that it was seen."""
        self.guest.run(["cdmi-attach", "detach", "--force", name])
        status, view = self.api("GET", f"/v1/attachments/{name}")
        assert (status, view["phase"], view["device"]) == (200, "failed", None), view
        self.detach(name)
        assert self.api("GET", f"/v1/attachments/{name}")[0] == 404
        lost: list[str] = view["tainted"]
        return lost

    def api(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One request on the daemon's socket. Returns status and JSON (None where there is none).

        Every answer is held against the published contract.
        """
        status, text = self.guest.ask(method, path, None if body is None else json.dumps(body))
        answer = json.loads(text) if text.strip() else None
        published.check(method, path, status, answer)
        return status, answer

    def status(self, name: str) -> Any:
        """An attachment as the API shows it."""
        status, view = self.api("GET", f"/v1/attachments/{name}")
        assert status == 200, view
        return view

    def define_domain(self, name: str, *, disk: str) -> None:
        """The same as one that libvirt starts by itself at each boot; what it prints is kept over them."""
        text = DOMAIN.format(name=name, serial=SERIAL.format(name), disk=disk).replace(
            ".serial'/>", ".serial' append='on'/>"
        )
        self.guest.write(f"/root/{name}.xml", text)
        self.guest.run(
            f"systemctl enable --quiet libvirtd.service && virsh -q define /root/{name}.xml && "
            f"virsh -q autostart {name} && virsh -q start {name}",
            timeout_s=180,
        )

    def start_domain(self, name: str, *, disk: str = "", paused: bool = True) -> None:
        """A libvirt domain without an operating system, that boots from the first disk it has."""
        self.guest.write(f"/root/{name}.xml", DOMAIN.format(name=name, serial=SERIAL.format(name), disk=disk))
        self.guest.run(f"virsh -q create /root/{name}.xml{' --paused' if paused else ''}", timeout_s=180)

    def boot_line(self, name: str, wanted: str, *, timeout_s: int = 60) -> str:
        """Wait until the domain prints a line on its serial port that has `wanted` in it, and return that line."""
        log = SERIAL.format(name)
        line = f"timeout {timeout_s} tail -n +1 -F {log} 2>/dev/null | grep -m 1 -a {shlex.quote(wanted)}"
        return self.guest.run(f"bash -c {shlex.quote(line)}", timeout_s=timeout_s + 30).stdout.strip()

    def inventory(self) -> str:
        """What this host has of sessions, records, SCSI disks, links, claims and domains, and its targets of sessions.

        By other people's tools where they are quick, else from the files that these read.
        """
        return self.guest.run(
            "echo '# iscsiadm -m session'; iscsiadm -m session 2>&1; "
            "echo '# iscsiadm -m node'; iscsiadm -m node 2>&1; "
            "echo '# lsblk -S'; lsblk -S -n -o NAME,TRAN,WWN; "
            "echo '# links'; cd /run/cdmi-attach && find /dev/cdmi-attach disk claim map proved "
            "-mindepth 1 ! -type d 2>/dev/null; "
            "echo '# multipath'; cat /sys/block/dm-*/dm/uuid 2>/dev/null; grep -hs '^/' /etc/multipath/wwids; "
            "systemctl -q is-active multipathd && multipathd show paths raw format '%i %d %t'; "
            "echo '# domains'; for d in /run/libvirt/qemu/*.pid; do "
            "[ ! -e $d ] || virsh -q domblklist $(basename $d .pid); done; "
            "echo '# LIO'; cd /sys/kernel/config/target/iscsi 2>/dev/null && "
            "grep -Ls '^No active' */tpgt_*/acls/*/info; cat */tpgt_*/dynamic_sessions 2>/dev/null; true"
        ).stdout

    def defects(self) -> str:
        """Units that failed, errors in the daemon's own code as its journal tells them, workers that do not end."""
        units = " ".join(f"-u {unit}" for unit in SERVICES)
        said = self.guest.run(
            "systemctl --failed --no-legend --plain; "
            f"journalctl -q {units} | grep -E -A 60 'Traceback|Logging error|internal error'; true"
        ).stdout
        stuck = json.loads(self.guest.run("cdmi-attach host --json").stdout)["stragglers"]
        return said + (f"{stuck} workers do not end" if stuck else "")

    def told(self) -> str:
        """What libvirt and targetcli say by themselves, in seconds: domains, and sessions of the targets."""
        return self.guest.run("virsh -q list --name; targetcli sessions list 2>/dev/null | grep -v preferences").stdout
