"""The doctor on multipathd: whether it runs where it has to, and which of its settings bite."""

import re

from agent.cli.doctor_host import Finding, Host, failure, ok, unchecked, warning

PLACE = "/etc/multipath/conf.d/zz-cdmi-attach.conf"
SAFE = r"defaults {\n\tfind_multipaths strict\n\tuser_friendly_names no\n}\noverrides {\n\tno_path_retry 12\n}\n"
MEND = f"mkdir -p /etc/multipath/conf.d && printf '{SAFE}' > {PLACE} && systemctl reload multipathd"
DROPIN = "/etc/multipath/conf.d/cdmi-attach.conf"
UNPROVED = r'blacklist {\n\twwid "^cdmi-attach-"\n}\n'
LEAVE = f"mkdir -p /etc/multipath/conf.d && printf '{UNPROVED}' > {DROPIN} && systemctl reload multipathd"
START = "systemctl enable --now multipathd.socket multipathd.service"


def multipath(host: Host) -> Finding:
    """multipathd leaves single disks alone, gives lost paths up in the end, and runs where maps are insisted on."""
    if host.units is None:
        return unchecked("systemd does not answer")
    wanted = str((host.config or {}).get("attach", {}).get("multipath", "auto"))
    if host.units["multipathd.service"].active != "active":
        if wanted == "always":
            return failure("multipathd does not run", 'multipath = "always": every attach is refused', START)
        return ok("multipathd does not run: one path for each LUN")
    done = host.run(["multipathd", "show", "config", "local"])
    if done.status != 0:
        return unchecked("multipathd does not tell its settings")
    return _settings(done.out)


def _settings(said: str) -> Finding:
    find = _value(said, "find_multipaths") or "strict"
    takes_all = find in ("no", "off", "greedy", "smart")
    if not re.search(r'^\s*wwid\s+"?\^cdmi-attach-"?\s*$', said, re.MULTILINE):
        means = "it may make a map of a disk that is not proved yet, or handed out by itself, and a detach refuses then"
        tell = failure if takes_all else warning
        return tell(f"multipathd is not told to leave our disks alone ({DROPIN}; find_multipaths {find})", means, LEAVE)
    if takes_all:
        means = "it takes each disk that we attach for itself: the guest then finds it busy, and a detach refuses"
        return failure(f"multipathd has find_multipaths {find}", means, MEND)
    retry = _value(said, "no_path_retry")
    queues = "queue_if_no_path" in said and retry is None
    if retry == "queue" or queues:
        means = "while no path of a map is left, whatever touches it waits for ever: the guest, udev, LVM, sync"
        return warning(
            f"multipathd has {'features queue_if_no_path' if queues else 'no_path_retry queue'}", means, MEND
        )
    if _value(said, "user_friendly_names") == "yes":
        means = "maps are called mpatha, mpathb, in an order that differs between hosts"
        return warning("multipathd has user_friendly_names yes", means, MEND)
    return ok(f"multipathd has find_multipaths {find}")


def _value(said: str, key: str) -> str | None:
    """The last setting of that name: overrides come after devices, and these after defaults."""
    found = re.findall(rf'^\s*{key}\s+"?(\w+)"?', said, re.MULTILINE)
    return found[-1] if found else None
