#!/bin/sh
# Make a restored guest somebody: clock, names, and the addresses that others know it by. Every process here costs.
set -eu
name=$1 epoch=$2 machine_id=$3 iqn=$4 host_uuid=$5 mac_seed=$6 lan_address=$7

date -u -s "@$epoch" > /dev/null

# journald writes on under the old id until the next boot; journalctl looks under the new one.
read -r old_id < /etc/machine-id
echo "$machine_id" > /etc/machine-id
[ "$old_id" = "$machine_id" ] || ln -s "$old_id" "/run/log/journal/$machine_id"

echo "$name" > /etc/hostname
echo "$name" > /proc/sys/kernel/hostname
printf '127.0.0.1 localhost\n127.0.1.1 %s\n::1 localhost\n' "$name" > /etc/hosts

# iscsid and libvirtd do not run yet: their sockets start them with what is written here.
echo "InitiatorName=$iqn" > /etc/iscsi/initiatorname.iscsi
echo "host_uuid = \"$host_uuid\"" >> /etc/libvirt/libvirtd.conf

echo "$mac_seed" > /etc/cdmi-lab/mac-seed
lan_mac=$mac_seed:fe
ip -batch - << LAN
link set lan address $lan_mac
address add $lan_address/24 dev lan
link set lan up
LAN
printf '[Match]\nName=lan\n[Link]\nMACAddress=%s\n[Network]\nAddress=%s/24\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n' \
    "$lan_mac" "$lan_address" > /etc/systemd/network/20-lan.network
