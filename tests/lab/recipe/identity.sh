#!/bin/sh
# Make a restored guest somebody: clock, names, and the addresses that others know it by.
set -eu
name=$1 epoch=$2 machine_id=$3 iqn=$4 host_uuid=$5 mac_seed=$6 lan_address=$7

date -u -s "@$epoch" > /dev/null

old_id=$(cat /etc/machine-id)
echo "$machine_id" > /etc/machine-id
if [ -d "/run/log/journal/$old_id" ] && [ "$old_id" != "$machine_id" ]; then
    mv "/run/log/journal/$old_id" "/run/log/journal/$machine_id"
    systemctl --no-block restart systemd-journald.service
fi

echo "$name" > /etc/hostname
hostname "$name"
printf '127.0.0.1 localhost\n127.0.1.1 %s\n::1 localhost\n' "$name" > /etc/hosts

old_iqn=$(cat /etc/iscsi/initiatorname.iscsi)
echo "InitiatorName=$iqn" > /etc/iscsi/initiatorname.iscsi
chmod 0600 /etc/iscsi/initiatorname.iscsi
if [ "$old_iqn" != "InitiatorName=$iqn" ] && systemctl --quiet is-active iscsid.service; then
    systemctl restart iscsid.service
fi

sed -i '/^host_uuid/d' /etc/libvirt/libvirtd.conf
echo "host_uuid = \"$host_uuid\"" >> /etc/libvirt/libvirtd.conf
if systemctl --quiet is-active libvirtd.service; then systemctl restart libvirtd.service; fi

echo "$mac_seed" > /etc/cdmi-lab/mac-seed
lan_mac=$mac_seed:fe
ip link set lan down
ip link set lan address "$lan_mac"
ip address flush dev lan
ip address add "$lan_address/24" dev lan
ip link set lan up
printf '[Match]\nName=lan\n[Link]\nMACAddress=%s\n[Network]\nAddress=%s/24\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n' \
    "$lan_mac" "$lan_address" > /etc/systemd/network/20-lan.network

# What the project's snapshot had running begins again here, so that it reads this identity.
if [ -s /etc/cdmi-lab/units ]; then
    systemctl daemon-reload
    xargs -a /etc/cdmi-lab/units systemctl start
fi
