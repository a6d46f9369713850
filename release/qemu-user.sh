#!/bin/bash
# Finds an emulator for programs of another architecture that has the system calls of our tests, openat2 above all: QEMU 9.2 or
# later. The host's own, or else that of Debian 13, whose static program is unpacked into a directory of ours. Prints its path.
#
#   release/qemu-user.sh s390x target/qemu-user
set -eu

arch=$1
place=$(mkdir -p "$2" && cd "$2" && pwd)
emulator=$place/usr/bin/qemu-$arch

is_new() {
    version=$("$1" --version 2>/dev/null | sed -n 's/.*version \([0-9]*\.[0-9]*\).*/\1/p')
    [ -n "$version" ] && printf '9.2\n%s\n' "$version" | sort -CV
}

for program in "qemu-$arch-static" "qemu-$arch" "$emulator"; do
    if is_new "$program"; then
        command -v "$program"
        exit
    fi
done

# An apt of its own: the host's lists and sources stay as they are, the signatures are checked all the same.
apt="$place/apt"
mkdir -p "$apt/lists/partial" "$apt/archives/partial"
: > "$apt/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main" > "$apt/sources.list"
options="-qq -o Dir::Etc::SourceList=$apt/sources.list -o Dir::Etc::SourceParts=- -o Dir::State::Lists=$apt/lists \
    -o Dir::State::status=$apt/status -o Dir::Cache::Archives=$apt/archives -o APT::Sandbox::User=root"
apt-get $options update >&2
(cd "$apt/archives" && apt-get $options download qemu-user >&2)
dpkg-deb --fsys-tarfile "$apt"/archives/qemu-user_*.deb | tar -x -C "$place" "./usr/bin/qemu-$arch"
rm -rf "$apt"
echo "$emulator"
