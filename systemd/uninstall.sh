#!/bin/sh
# Take cdmi-attach away again (root). Attachments are left as they are: detach them first. Configuration and state stay
# unless --purge is given.
set -eu

SOCKETS="cdmi-attachd.socket cdmi-attach-helperd.socket"
SERVICES="cdmi-attachd.service cdmi-attach-helperd.service"

case "${1:-}" in
'' | --purge) ;;
*)
    echo "usage: sh uninstall.sh [--purge]" >&2
    exit 2
    ;;
esac
if [ "$(id -u)" -ne 0 ]; then
    echo "uninstall.sh: has to run as root" >&2
    exit 1
fi
for link in /run/cdmi-attach/disk/*; do
    if [ -L "$link" ] && [ "${1:-}" = --purge ]; then
        echo "uninstall.sh: $link is attached: cdmi-attach detach ${link##*/}, then try again" >&2
        exit 1
    fi
done

# shellcheck disable=SC2086  # lists of words
systemctl disable --quiet $SOCKETS $SERVICES 2>/dev/null || true
if [ -d /run/systemd/system ]; then
    # shellcheck disable=SC2086
    systemctl stop $SOCKETS $SERVICES 2>/dev/null || true
fi
for unit in $SOCKETS $SERVICES; do rm -f "/usr/lib/systemd/system/$unit"; done
rm -f /usr/lib/systemd/system/machine-.scope.d/50-cdmi-attach.conf
rm -f /usr/lib/sysusers.d/cdmi-attach.conf /usr/lib/tmpfiles.d/cdmi-attach.conf
rm -f /usr/bin/cdmi-attach /usr/sbin/cdmi-attachd /usr/sbin/cdmi-attach-helperd
rm -f /etc/multipath/conf.d/cdmi-attach.conf
rm -f /usr/lib/udev/rules.d/*-cdmi-attach*.rules /usr/lib/systemd/catalog/cdmi-attach.catalog
rm -f /usr/share/man/man1/cdmi-attach.1 /usr/share/man/man8/cdmi-attachd.8 /usr/share/man/man5/cdmi-attachd.conf.5
rm -f /usr/share/bash-completion/completions/cdmi-attach
rm -rf /usr/lib/cdmi-attach
if [ "${1:-}" = --purge ]; then rm -rf /etc/cdmi-attach /var/lib/cdmi-attach /var/lib/cdmi-attach-helper; fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    udevadm control --reload || true
fi
