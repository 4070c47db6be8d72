"""A simulated host's Fibre Channel: ports that see each other, cables, and the kernel's own scan of every LUN."""

from collections.abc import Callable

from agent.host.simulated_kernel import Kernel, Session
from attachers import checks
from attachers.fc import NOT_PRESENT
from attachers.sights import LOGGED_IN, FcPort


class Fabric:
    """What plays the fabric of one simulated host, on its kernel; `tell` is called after each change."""

    def __init__(self, kernel: Kernel, tell: Callable[[], None]) -> None:
        self._kernel = kernel
        self._tell = tell

    def connect(self, portal: str, target: str) -> Session:
        """Let a local port (made where there is none) see a target port from here on, also after a reboot."""
        self._kernel.fabric.append((portal, target))
        session = self._log_in(portal, target)
        self._tell()
        return session

    def boot(self) -> None:
        """What a starting kernel does: every port logs in again, and all that they show is scanned."""
        for portal, target in self._kernel.fabric:
            self._log_in(portal, target)

    def pull(self, target: str) -> None:
        """Pull the cable of a target port: the kernel blocks it and waits."""
        for session in self._to(target):
            session.state = "Blocked"
        self._tell()

    def lose(self, target: str) -> None:
        """The kernel's patience with a pulled cable ends (dev_loss_tmo): every disk behind the port goes."""
        for session in self._to(target):
            session.state = NOT_PRESENT
            for hctl in list(session.devices):
                self._kernel.drop_device(session, hctl, with_claim=False)
        self._tell()

    def plug(self, target: str) -> None:
        """Put the cable back: the kernel scans all LUNs of the port (scsi_transport_fc.c fc_scsi_scan_rport)."""
        for session in self._to(target):
            session.state = LOGGED_IN
            self._scan_all(session)
        self._tell()

    def reload(self, portal: str) -> None:
        """Load the driver of a local port again: its disks are others, with another SCSI host number."""
        for session in [one for one in self._kernel.sessions.values() if one.portal == portal]:
            for hctl in list(session.devices):
                self._kernel.drop_device(session, hctl)
            del self._kernel.sessions[session.sid]
        for local, target in self._kernel.fabric:
            if local == portal:
                self._log_in(local, target)
        self._tell()

    def _log_in(self, portal: str, target: str) -> Session:
        session = self._kernel.add_session(target, portal)
        before = [one for one in self._kernel.sessions.values() if one.portal == portal and one is not session]
        if before:
            session.host, session.target_id = before[0].host, len(before)
        self._scan_all(session)
        return session

    def _scan_all(self, session: Session) -> None:
        for unit in self._kernel.san.shown(session.portal, session.target, session.portal):
            if session.at(unit.lun) not in session.devices:
                self._kernel.add_device(session, unit.lun)
        self._kernel.probe()

    def _to(self, target: str) -> list[Session]:
        return [session for session in self._kernel.sessions.values() if session.target == target]


def ports(kernel: Kernel) -> tuple[FcPort, ...]:
    """The local ports, each with what it sees."""
    fibre = [session for session in kernel.sessions.values() if checks.is_wwpn(session.target)]
    hosts = {session.portal: session.host for session in fibre}
    return tuple(
        FcPort(wwpn, host, "Online", tuple(_in_words(one) for one in fibre if one.portal == wwpn))
        for wwpn, host in hosts.items()
    )


def _in_words(session: Session) -> str:
    state = "Online" if session.state == LOGGED_IN else session.state
    return f"{checks.with_colons(session.target)} {state} (FCP Target)"
