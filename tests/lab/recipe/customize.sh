#!/bin/sh
# Finish the guest's root folder ($1): kernel, modules, units. Runs as mmdebstrap's customize hook.
set -eu
root=$1

# The kernel's .deb is unpacked, not installed: no initramfs-tools, no boot loader.
APT_CONFIG=$MMDEBSTRAP_APT_CONFIG
export APT_CONFIG
kernel=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9][^ ]*\).*/\1/p' | head -n 1)
mkdir "$root/kernel"
(cd "$root/kernel" && apt-get download -qq -o APT::Sandbox::User=root "$kernel")
dpkg-deb -x "$root"/kernel/*.deb "$root/kernel"
modules=$(cd "$root"/kernel && echo lib/modules/*)
for unused in gpu media iio staging infiniband input/touchscreen input/joystick isdn hwmon usb \
    net/wireless net/ethernet net/can net/wan net/usb mtd bluetooth thunderbolt video; do
    rm -rf "$root/kernel/$modules/kernel/drivers/$unused"
done
rm -rf "$root/kernel/$modules/kernel/sound"
mkdir -p "$root/usr/lib/modules" "$root/boot"
cp -a "$root/kernel/$modules" "$root/usr/lib/modules/"
cp "$root"/kernel/boot/vmlinuz-* "$root/boot/vmlinuz"
rm -rf "$root/kernel"
chroot "$root" depmod "${modules##*/}"

# What a lab never needs, or what must begin with the tests and not with the boot.
chroot "$root" systemctl --quiet mask lldpad.service fcoe-utils.service networking.service \
    open-iscsi.service systemd-networkd-wait-online.service getty@tty1.service serial-getty@ttyS0.service \
    e2scrub_all.timer e2scrub_reap.service fstrim.timer systemd-tmpfiles-clean.timer logrotate.timer apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    libvirt-guests.service systemd-pstore.service nfs-blkmap.service
for unit in multipathd.service multipathd.socket rtslib-fb-targetctl.service targetclid.socket nfs-server.service \
    iscsid.service libvirtd.service virtlockd.service blk-availability.service; do
    chroot "$root" systemctl --quiet disable "$unit" 2>/dev/null || true
done
chroot "$root" systemctl --quiet enable systemd-networkd.service ssh.service iscsid.socket libvirtd.socket cdmi-lab-ready.service
chroot "$root" systemctl --quiet set-default multi-user.target
rm -f "$root"/etc/motd "$root"/etc/systemd/system/*/ssh-keygen* "$root"/etc/resolv.conf
printf 'nameserver 10.0.2.3\n' > "$root/etc/resolv.conf"
printf 'lab\n' > "$root/etc/hostname"
rm -f "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/* "$root"/etc/apt/apt.conf.d/99mmdebstrap
chmod 0700 "$root/root/.ssh"
chmod 0600 "$root/root/.ssh/authorized_keys"
