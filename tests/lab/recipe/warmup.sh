#!/bin/sh
# Do once, before the snapshot, what is slow the first time in a guest.
set -eu
modprobe -a iscsi_tcp iscsi_target_mod target_core_iblock target_core_file loop
mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config
mkdir -p /opt/cdmi-attach /etc/cdmi-lab /srv
unset PYTHONDONTWRITEBYTECODE
python3 -c 'import rtslib_fb, aiohttp, pyroute2, pytest, pytest_asyncio, trustme, jsonschema, libvirt, systemd.daemon
rtslib_fb.RTSRoot()'
virsh --quiet capabilities > /dev/null
virsh --quiet domcapabilities > /dev/null
iscsiadm -m session 2> /dev/null || true
iscsiadm -m discovery 2> /dev/null || true
udevadm settle
# They start again with the identity of the guest that is restored, through their sockets.
systemctl stop libvirtd.service virtlogd.service iscsid.service
systemctl start libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket virtlogd.socket iscsid.socket
systemctl is-system-running --wait || systemctl --failed --no-pager
sync
