#!/bin/sh
# Install cdmi-attach from its wheel: sh systemd/install.sh dist/cdmi_attach-*.whl   (root; again to upgrade; offline)
set -eu

HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
LIB=/usr/lib/cdmi-attach
UNITS=/usr/lib/systemd/system
SOCKETS="cdmi-attachd.socket cdmi-attach-helperd.socket"
SERVICES="cdmi-attach-helperd.service cdmi-attachd.service"

die() {
    echo "install.sh: $*" >&2
    exit 1
}

if [ $# -ne 1 ] || [ ! -f "$1" ]; then die "usage: sh install.sh WHEEL"; fi
if [ "$(id -u)" -ne 0 ]; then die "has to run as root"; fi

# A venv of our own, beside the old one until it is whole. The distribution's packages (aiohttp, pyroute2, ...) are
# seen through it; the wheel is pure Python, so unpacking it is all that pip would do, and takes a tenth of the time.
make_venv() {
    /usr/bin/python3 -I - "$1" "$LIB" <<'PYTHON'
import compileall, configparser, shutil, sys, sysconfig, venv, zipfile
from pathlib import Path

wheel, lib = sys.argv[1], Path(sys.argv[2])
fresh, final = lib / "venv.new", lib / "venv"
shutil.rmtree(fresh, ignore_errors=True)
venv.create(fresh, system_site_packages=True, with_pip=False, symlinks=True)
inside = Path("lib") / f"python{sysconfig.get_python_version()}" / "site-packages"
with zipfile.ZipFile(wheel) as archive:
    archive.extractall(fresh / inside)
points = configparser.ConfigParser()
points.read((fresh / inside).glob("*.dist-info/entry_points.txt"))
for name, target in points["console_scripts"].items():
    module, function = target.split(":")
    # The command needs the standard library only: without `site` it starts in half the time.
    python = "/usr/bin/python3 -IS" if module.startswith("agent.cli") else f"{final}/bin/python3 -I"
    path = f"sys.path.append({str(final / inside)!r})\n" if python.endswith("S") else ""
    script = fresh / "bin" / name
    script.write_text(f"#!{python}\nimport sys\n{path}from {module} import {function}\nsys.exit({function}())\n")
    script.chmod(0o755)
compileall.compile_dir(fresh / inside, quiet=1, stripdir=str(fresh), prependdir=str(final))
shutil.rmtree(final, ignore_errors=True)
fresh.rename(final)
PYTHON
}

NEEDED="python3-aiohttp python3-prometheus-client"
/usr/bin/python3 -I -c 'import aiohttp, prometheus_client, venv' 2>/dev/null ||
    die "something that it needs is missing: apt install python3-venv $NEEDED open-iscsi (and python3-libvirt python3-systemd python3-pyroute2)"

umask 022
mkdir -p "$LIB"
make_venv "$1" || die "cannot make $LIB/venv (is python3-venv installed?)"
ln -sfn "$LIB/venv/bin/cdmi-attach" /usr/bin/cdmi-attach
ln -sfn "$LIB/venv/bin/cdmi-attachd" /usr/sbin/cdmi-attachd
ln -sfn "$LIB/venv/bin/cdmi-attach-helperd" /usr/sbin/cdmi-attach-helperd

mkdir -p "$UNITS" /usr/lib/sysusers.d /usr/lib/tmpfiles.d /usr/lib/udev/rules.d /etc/cdmi-attach/conf.d
install -d -m 0700 /etc/cdmi-attach/credentials
install -m 0644 "$HERE"/*.socket "$HERE"/*.service "$UNITS/"
install -D -m 0644 "$HERE/machine-.scope.d/50-cdmi-attach.conf" "$UNITS/machine-.scope.d/50-cdmi-attach.conf"
install -m 0644 "$HERE/cdmi-attach.sysusers" /usr/lib/sysusers.d/cdmi-attach.conf
install -m 0644 "$HERE/cdmi-attach.tmpfiles" /usr/lib/tmpfiles.d/cdmi-attach.conf
install -D -m 0644 "$HERE/cdmi-attach.catalog" /usr/lib/systemd/catalog/cdmi-attach.catalog
for rules in "$HERE"/*.rules; do
    if [ -f "$rules" ]; then install -m 0644 "$rules" /usr/lib/udev/rules.d/; fi
done
# Without a reload: that is for whoever knows what else it does to this host's maps. The doctor tells as well.
DROPIN=/etc/multipath/conf.d/cdmi-attach.conf
if [ -x /usr/sbin/multipathd ] || [ -x /sbin/multipathd ]; then
    if ! cmp -s "$HERE/multipath.conf" "$DROPIN"; then
        install -D -m 0644 "$HERE/multipath.conf" "$DROPIN"
        if [ -d /run/systemd/system ] && systemctl is-active --quiet multipathd.service; then
            echo "install.sh: multipathd has not read $DROPIN yet: systemctl reload multipathd" >&2
        fi
    fi
fi
for page in "$HERE"/../docs/*.[158]; do
    if [ -f "$page" ]; then install -D -m 0644 "$page" "/usr/share/man/man${page##*.}/${page##*/}"; fi
done

mkdir -p /usr/share/bash-completion/completions
/usr/bin/cdmi-attach completion bash >/usr/share/bash-completion/completions/cdmi-attach

systemd-sysusers cdmi-attach.conf
systemd-tmpfiles --create cdmi-attach.conf
if [ ! -e /etc/cdmi-attach/config.toml ]; then
    install -m 0640 -o root -g cdmi-attach "$HERE/config.toml.example" /etc/cdmi-attach/config.toml
fi

# The helper believes what root alone can have written.
for place in /etc/cdmi-attach /etc/cdmi-attach/conf.d /etc/cdmi-attach/config.toml /etc/cdmi-attach/conf.d/*.toml; do
    if [ -n "$(find "$place" -maxdepth 0 \( ! -user root -o -perm /022 \) 2>/dev/null)" ]; then
        echo "install.sh: $place is not root's alone, and nothing is attached: chown root $place && chmod go-w $place" >&2
    fi
done

if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    udevadm control --reload
    journalctl --update-catalog
    # shellcheck disable=SC2086  # lists of words
    systemctl enable --quiet $SOCKETS $SERVICES
    # The services that run, run the old program: end them before their sockets start the new one. Nothing is detached.
    # shellcheck disable=SC2086
    systemctl stop $SERVICES $SOCKETS
    # shellcheck disable=SC2086
    systemctl start $SOCKETS
    # shellcheck disable=SC2086
    systemctl start --no-block $SERVICES
else
    # shellcheck disable=SC2086
    systemctl enable --quiet $SOCKETS $SERVICES
fi
echo "cdmi-attach is installed; configure /etc/cdmi-attach/config.toml, then: systemctl reload cdmi-attachd" >&2
