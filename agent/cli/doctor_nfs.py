"""The doctor on NFS: whether the kernel can mount it, and make disks of files; asked only where it is enabled."""

from agent.cli.doctor_host import Finding, Host, failure, ok

LIO = "/sys/kernel/config/target/core"
KERNEL = "apt-get install linux-image-amd64 && reboot"


def module(host: Host) -> Finding:
    """The kernel has NFS 4, or can load it."""
    if not _is_enabled(host):
        return ok("NFS is not among the protocols of [attach]")
    if "nfs4" in (host.text("/proc/filesystems") or "").split():
        return ok("the kernel can mount NFS")
    if host.run(["modprobe", "--dry-run", "nfsv4"]).status != 0:
        return failure("this kernel has no module nfsv4", "no NFS export can be mounted", KERNEL)
    return ok("nfsv4 can be loaded")


def lio(host: Host) -> Finding:
    """The kernel's own target is there, which makes disks of files on NFS. But for its core it loads by itself."""
    if not _is_enabled(host):
        return ok("NFS is not among the protocols of [attach]")
    means = "a file on NFS cannot become a disk; only with present=file it can be handed out"
    for name in ("target_core_mod", "target_core_file", "tcm_loop"):
        if host.run(["modprobe", "--dry-run", name]).status != 0:
            return failure(f"this kernel has no module {name}", means, KERNEL)
    if host.path(LIO).is_dir():
        return ok("LIO can make disks of files")
    mend = "systemctl start sys-kernel-config.mount && modprobe target_core_mod"
    return failure("LIO, the kernel's target, is not loaded", means, mend)


def _is_enabled(host: Host) -> bool:
    return "nfs" in ((host.config or {}).get("attach") or {}).get("protocols", ())
