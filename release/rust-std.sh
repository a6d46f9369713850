#!/bin/bash
# Gives cargo Rust's standard library for a target that the toolchain lacks, and prints the words that a cargo call for
# that target has to start with. `rustup target add` where that works; else the library is built from the sources
# that Debian packages as rust-src, in a private copy of the toolchain, so that the host's own is left alone.
#
#   release/rust-std.sh s390x-unknown-linux-gnu target/rust-std
set -eu

target=$1
place=$(mkdir -p "$2" && cd "$2" && pwd)
library=lib/rustlib/src/rust/library

if [ "${RUST_STD:-}" != source ]; then
    if [ -d "$(rustc --print sysroot)/lib/rustlib/$target" ] || timeout 120 rustup target add "$target" >&2; then
        echo cargo
        exit
    fi
    echo "rust-std: rustup has no library for $target here: building it from Debian's rust-src" >&2
fi

version=$(rustc --version | cut -d' ' -f2)
if [ ! -d "$place/toolchain/$library" ]; then
    # An apt of its own: the host's lists and sources stay as they are, the signatures are checked all the same.
    apt="$place/apt"
    mkdir -p "$apt/lists/partial" "$apt/archives/partial"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie-backports main" \
        > "$apt/sources.list"
    options="-qq -o Dir::Etc::SourceList=$apt/sources.list -o Dir::Etc::SourceParts=- -o Dir::State::Lists=$apt/lists \
        -o Dir::Cache::Archives=$apt/archives -o APT::Sandbox::User=root"
    apt-get $options update >&2
    wanted=$(apt-cache $options madison rust-src | grep -o " $version[^ ]*" | head -n 1 | tr -d ' ') || true
    if [ -z "$wanted" ]; then
        echo "rust-std: neither rustup nor Debian has the standard library of Rust $version for $target." >&2
        echo "hint: rustup target add $target, on a machine that reaches Rust's servers, or another Rust version" >&2
        exit 1
    fi
    (cd "$apt/archives" && apt-get $options download "rust-src=$wanted" >&2)
    dpkg-deb -x "$apt"/archives/rust-src_*.deb "$place/source"
    cp -a "$(rustc --print sysroot)" "$place/toolchain.new"
    mkdir -p "$place/toolchain.new/$(dirname "$library")"
    cp -a "$place"/source/usr/src/rustc-*/library "$place/toolchain.new/$library"
    rm -rf "$place/source"
    mv "$place/toolchain.new" "$place/toolchain"
fi
echo "env RUSTC_BOOTSTRAP=1 PATH=$place/toolchain/bin:$PATH cargo -Zbuild-std=std,panic_abort"
