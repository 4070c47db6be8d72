"""The doctor on Fibre Channel: a port, its link, and whether anybody is seen from it. Only where it is configured."""

from pathlib import Path

from agent.cli.doctor_host import Finding, Host, failure, ok, warning

HOSTS, REMOTE = "/sys/class/fc_host", "/sys/class/fc_remote_ports"
DRIVERS = "modprobe -a lpfc qla2xxx  # or your HBA's own driver; FCoE: modprobe fcoe, and create a port"
MEANS = "no LUN is reached over Fibre Channel"


def ports(host: Host) -> Finding:
    """This host has a port, one that is Online, and one that sees a target."""
    if "fc" not in (host.config or {}).get("attach", {}).get("protocols", ()):
        return ok("fc is not among the protocols of this host")
    states = {path.name: _text(path / "port_state") for path in _entries(host, HOSTS)}
    if not states:
        return failure("this host has no Fibre Channel port", MEANS, DRIVERS)
    told = ", ".join(f"{name} is {state}" for name, state in states.items())
    if "Online" not in states.values():
        return failure(f"no port is Online: {told}", MEANS, f"grep . {HOSTS}/*/port_state  # see cable and switch")
    seen = [path for path in _entries(host, REMOTE) if "FCP Target" in _text(path / "roles")]
    if not seen:
        return warning(f"no port sees a target: {told}", MEANS, f"grep . {REMOTE}/*/roles  # see the zoning")
    return ok(f"{told}; {len(seen)} targets are seen")


def _entries(host: Host, name: str) -> list[Path]:
    path = host.path(name)
    return sorted(path.iterdir()) if path.is_dir() else []


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:  # a port that is going away
        return "unknown"
