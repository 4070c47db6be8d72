"""iSCSI in a lab guest by an administrator's hand, and what he sees of it."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.lab.stage import Lun, Stage


def sessions(stage: Stage, target: str) -> list[str]:
    """The sessions to targets whose names have that in them, by iscsiadm."""
    done = stage.guest.run("iscsiadm -m session", check=False)
    return [line for line in done.stdout.splitlines() if target in line]


def initiator(stage: Stage) -> str:
    """This host's name."""
    return stage.guest.run("sed -n s/^InitiatorName=//p /etc/iscsi/initiatorname.iscsi").stdout.strip()


def steps_of(stage: Stage, name: str) -> list[str]:
    """What the daemon did for an attachment."""
    return [step["what"] for step in stage.status(name)["steps"]]


def lose(stage: Stage, lun: Lun) -> None:
    """An administrator takes the disk and its session away."""
    disk = f"basename $(readlink -f /dev/cdmi-attach/{lun.wwid})"
    stage.guest.run(f"echo 1 > /sys/block/$({disk})/device/delete; iscsiadm -m node -T {lun.target} -u")


def set_access(stage: Stage, lun: Lun, state: int) -> None:
    """The target port group of a LUN in another ALUA state: 0 active/optimized, 2 standby, 3 unavailable (SPC-4)."""
    group = f"/sys/kernel/config/target/iscsi/{lun.target}/tpgt_1/lun/lun_*/*/alua/default_tg_pt_gp"
    stage.guest.run(f"for group in {group}; do echo {state} > $group/alua_access_state; done")


def begin(stage: Stage, lun: Lun, **more: object) -> None:
    """PUT, without waiting."""
    status, view = stage.api("PUT", f"/v1/attachments/{lun.name}?wait=0", {"source": lun.source, **more})
    assert status == 202, view


def wait_for(stage: Stage, shell: str, *, timeout_s: int = 60) -> None:
    """Wait in the guest until a shell command succeeds."""
    stage.guest.run(f"timeout {timeout_s} sh -c 'until {shell}; do sleep 0.1; done'", timeout_s=timeout_s + 10)


@contextmanager
def records_come_and_go(stage: Stage) -> Iterator[None]:
    """While an administrator makes and removes a record, again and again.

    His iscsiadm fails now and then (exit code 6): it looks at all sessions to remove a record, and one of them goes.
    """
    record = "iscsiadm -m node -T iqn.2000-01.org.example:noise -p 127.0.0.9:3260 -o"
    again = f"until test -e /run/quiet; do {record} new && {record} delete; sleep 0.3; done; {record} delete; true"
    stage.guest.run(f"rm -f /run/quiet; systemd-run --quiet --unit=noise sh -c '{again}'")
    try:
        yield
    finally:  # it ends by itself: an iscsiadm that is killed may leave the lock of the database behind
        stage.guest.run("touch /run/quiet")
        wait_for(stage, "! systemctl is-active --quiet noise")
    assert int(stage.guest.run("journalctl -q -o cat -u noise | grep -c added").stdout) > 1


@contextmanager
def failing(stage: Stage, portal: str) -> Iterator[None]:
    """The session at a portal is broken, and none can be made there."""
    address, _, port = portal.partition(":")
    rule = f"INPUT -p tcp -d {address} --dport {port} -j REJECT --reject-with tcp-reset"
    stage.guest.run(f"iptables -I {rule} && ss -K dst {address} dport = {port}")
    try:
        wait_for(stage, "grep -q FAILED /sys/class/iscsi_session/*/state")
        yield
    finally:
        stage.guest.run(f"iptables -D {rule}")


@contextmanager
def several_sessions(stage: Stage, count: int) -> Iterator[None]:
    """iscsid.conf has a record made that logs in so often."""
    conf, key = "/etc/iscsi/iscsid.conf", "node.session.nr_sessions"
    stage.guest.run(f"cp {conf} /root/iscsid.conf && sed -i '/{key}/d' {conf} && echo {key} = {count} >> {conf}")
    try:
        yield
    finally:
        stage.guest.run(f"mv /root/iscsid.conf {conf}")


@contextmanager
def permission_given(stage: Stage, lun: Lun) -> Iterator[None]:
    """The daemon has asked for the permission, the target has it by now, and the answer comes when this ends."""
    stage.fault({"kind": "put-exports", "action": "delay", "seconds": 100, "times": 1, "after": True})
    try:
        begin(stage, lun)
        number = stage.export(lun.name)["logical_unit_number"]
        wait_for(stage, f"ls -d /sys/kernel/config/target/iscsi/{lun.target}/tpgt_1/acls/*/lun_{number}")
        yield
    finally:
        stage.clear_faults()


class Hand:
    """iscsiadm by an administrator's hand, for one LUN's target at the first portal."""

    def __init__(self, stage: Stage, lun: Lun, portal: str = "127.0.0.1:3260") -> None:
        self.node = f"iscsiadm -m node -T {lun.target} -p {portal}"
        self.make = f"{self.node} -o new && {self.node} -o update -n node.session.scan -v manual"
        self.stage = stage

    def log_in(self) -> None:
        """With a record as it comes: every LUN of the target that this host may use is looked for."""
        self.stage.guest.run(f"{self.node} -o new && {self.node} --login && udevadm settle")

    def rescan(self) -> None:
        """Look for every LUN again, on every session of the host."""
        self.stage.guest.run("iscsiadm -m session --rescan && udevadm settle")

    def away(self) -> None:
        """Log out and forget."""
        self.stage.guest.run(f"{self.node} --logout; {self.node} -o delete")
