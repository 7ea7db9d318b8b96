#!/bin/sh
# Boots systemd in namespaces of its own, on a copy-on-write view of this machine, and walks docs/MIGRATING-FROM-NGINX.md
# inside (walk.sh): every command of the page, as it stands there, and the units of packaging/. Root, Linux and a kernel
# with overlayfs are needed; nothing outside the namespaces is changed.
#   usage: boot.sh FOLDER-WITH-THE-BINARIES
set -eu
built=$(cd "${1:?usage: boot.sh FOLDER-WITH-THE-BINARIES}" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
[ "$(id -u)" = 0 ] || { echo "boot: systemd is booted by root only" >&2; exit 77; }
for program in systemd-nspawn unshare pebble pebble-challtestsrv certbot nginx curl openssl python3; do
    command -v "$program" >/dev/null || [ -x "/usr/sbin/$program" ] || { echo "boot: $program is missing" >&2; exit 69; }
done

if [ "${FOREBAY_WALK_MOUNTS:-}" != private ]; then
    # Mounts are made where they end with this process.
    FOREBAY_WALK_MOUNTS=private exec unshare --mount --propagation private "$0" "$built"
fi
# Small enough to live in memory: logs, keys, and what the page's commands write.
scratch=$(mktemp -d)
trap 'umount -l "$scratch/root" "$scratch" 2>/dev/null; rmdir "$scratch"' EXIT
mount -t tmpfs -o size=512m tmpfs "$scratch"
mkdir "$scratch/changed" "$scratch/work" "$scratch/root"
root="$scratch/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$scratch/changed,workdir=$scratch/work" "$root"

mkdir -p "$root/srv/forebay"
cp -r "$repository/packaging" "$repository/docs" "$here/walk.sh" "$root/srv/forebay/"
for program in forebay-proxy forebay-nginx; do
    for folder in usr/bin usr/local/bin; do : >"$root/$folder/$program"; chmod 755 "$root/$folder/$program"; done
done
# What the page makes, and what keeps services still where machines are built.
rm -f "$root/usr/local/sbin/nginx" "$root/usr/sbin/policy-rc.d"
cat >"$root/etc/systemd/system/walk.target" <<'UNIT'
[Unit]
Requires=basic.target walk.service
After=basic.target
AllowIsolate=yes
UNIT
cat >"$root/etc/systemd/system/walk.service" <<'UNIT'
[Unit]
After=basic.target
SuccessAction=exit
FailureAction=exit
[Service]
Type=oneshot
ExecStart=/bin/sh /srv/forebay/walk.sh
StandardOutput=file:/srv/forebay/walk.log
StandardError=inherit
TimeoutStartSec=300
UNIT

binds=""
for program in forebay-proxy forebay-nginx; do
    for folder in usr/bin usr/local/bin; do binds="$binds --bind-ro=$built/$program:/$folder/$program"; done
done
status=0
# shellcheck disable=SC2086 # a list of options
timeout --kill-after=10 360 systemd-nspawn --quiet --directory="$root" --machine=forebay-walk --register=no --keep-unit \
    --private-network --console=read-only --link-journal=no $binds --boot -- systemd.unit=walk.target \
    systemd.show_status=0 quiet >"$scratch/boot.log" 2>&1 </dev/null || status=$?
cat "$root/srv/forebay/walk.log" 2>/dev/null || cat "$scratch/boot.log"
exit "$status"
