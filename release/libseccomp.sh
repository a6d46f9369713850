#!/bin/bash
# Finds the static libseccomp for a target, and prints its directory. The compiler's own where it has one (libseccomp-dev of
# the host, or of a cross compiler); else Debian's package for the architecture, unpacked into a directory of ours: nothing of
# another architecture is installed on the host.
#
#   release/libseccomp.sh s390x target/sysroot/s390x
set -eu

arch=$1
place=$(mkdir -p "$2" && cd "$2" && pwd)
compiler=$([ "$arch" = "$(uname -m)" ] && echo cc || echo "$arch-linux-gnu-gcc")

for library in "$("$compiler" -print-file-name=libseccomp.a)" "$place/usr/lib/$arch-linux-gnu/libseccomp.a"; do
    if [ "$library" != libseccomp.a ] && [ -e "$library" ]; then
        dirname "$library"
        exit
    fi
done
if [ "$arch" = "$(uname -m)" ]; then
    echo "libseccomp: no libseccomp.a: install libseccomp-dev, libseccomp-static or what your distribution calls it" >&2
    exit 1
fi

# The release that the cross compiler's C library is of: a static library may need no newer one. An apt of its own: the
# host's lists and sources stay as they are, the signatures are checked all the same.
suite=$(. /etc/os-release && [ "${ID:-}" = debian ] && echo "${VERSION_CODENAME:-}" || true)
apt="$place/apt"
mkdir -p "$apt/lists/partial" "$apt/archives/partial"
: > "$apt/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian ${suite:-bookworm} main" \
    > "$apt/sources.list"
options="-qq -o Dir::Etc::SourceList=$apt/sources.list -o Dir::Etc::SourceParts=- -o Dir::State::Lists=$apt/lists \
    -o Dir::State::status=$apt/status -o Dir::Cache::Archives=$apt/archives -o APT::Architecture=$arch \
    -o APT::Architectures::=$arch -o APT::Sandbox::User=root"
apt-get $options update >&2
(cd "$apt/archives" && apt-get $options download libseccomp-dev >&2)
dpkg-deb -x "$apt"/archives/libseccomp-dev_*.deb "$place"
rm -rf "$apt"
exec "$0" "$@"
