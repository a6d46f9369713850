# make demo     everything from a fresh clone to `docker run` in a virtual machine, in a sandbox
# `make help` lists the rest. What takes more than a line or two is in tests/src/bin/sandbox.rs.

ARCH   ?= x86_64
DISTRO ?= auto
ACCEL  ?= auto

TRIPLE  := $(ARCH)-unknown-linux-gnu
TARGET  := $(or $(CARGO_TARGET_DIR),target)
DIST    := $(TARGET)/dist/$(ARCH)
BUILT   := $(TARGET)/$(TRIPLE)/release
SHIPPED := runq runq-proxy runq-init runq-install runq-assets
SANDBOX := cargo run --quiet --package runq-tests --bin sandbox --
E2E     := cargo test --package runq-tests --test e2e -- --ignored --test-threads=2
# Those that need the other architecture's programs are in test-foreign.
NATIVE  := --skip assets_both

# Debian's packages, by a program or file of theirs.
NEEDED := dockerd:docker.io containerd:containerd runc:runc iptables:iptables ip:iproute2 \
	/bin/busybox:busybox-static debootstrap:debootstrap minisign:minisign gpg-agent:gnupg xz:xz-utils strace:strace zstd:zstd readelf:binutils cc:gcc \
	mkfs.ext4:e2fsprogs mkfs.xfs:xfsprogs mkfs.btrfs:btrfs-progs qemu-img:qemu-utils losetup:mount \
	/usr/include/stdlib.h:libc6-dev /usr/include/seccomp.h:libseccomp-dev /etc/ssl/certs/ca-certificates.crt:ca-certificates \
	skopeo:skopeo docker-registry:docker-registry podman:podman curl:curl openssl:openssl crun:crun apparmor_parser:apparmor /usr/bin/time:time disorderfs:disorderfs faketime:faketime

NEEDED_s390x := s390x-linux-gnu-gcc:gcc-s390x-linux-gnu /usr/s390x-linux-gnu/lib/libc.a:libc6-dev-s390x-cross \
	qemu-s390x-static:qemu-user-static

# Static programs everywhere. Those of s390x are linked by Debian's cross compiler and run by QEMU's user emulation;
# the standard library comes from rustup or, where that has none, from Debian's sources.
export CARGO_TARGET_S390X_UNKNOWN_LINUX_GNU_LINKER = s390x-linux-gnu-gcc
export CARGO_TARGET_S390X_UNKNOWN_LINUX_GNU_RUNNER = qemu-s390x-static
export CARGO_TARGET_S390X_UNKNOWN_LINUX_GNU_RUSTFLAGS = -C target-feature=+crt-static
build: export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS = -C target-feature=+crt-static
RUN_s390x := qemu-s390x-static
RUST_STD  := release/rust-std.sh $(TRIPLE) $(TARGET)/rust-std
# The one C library in our programs, static as they are.
SECCOMP   := LIBSECCOMP_LINK_TYPE=static PKG_CONFIG=false LIBSECCOMP_LIB_PATH=$$(release/libseccomp.sh $(ARCH) $(TARGET)/sysroot/$(ARCH))

# No target is a file.
.PHONY: $(shell sed -n "s/^\([a-z0-9-]*\):.*/\1/p" $(firstword $(MAKEFILE_LIST)))

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22
	@echo "  ARCH=$(ARCH) DISTRO=$(DISTRO) (auto, debian, ubuntu) ACCEL=$(ACCEL) (auto, kvm, tcg)"

deps: ## install what Debian 12 lacks (as root)
	@missing=$$(for need in $(NEEDED) $(NEEDED_$(ARCH)); do command -v "$${need%%:*}" >/dev/null || [ -e "$${need%%:*}" ] || echo "$${need##*:}"; done); \
	[ -z "$$missing" ] || { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $$missing; }

build: deps ## static binaries for ARCH, in target/dist/ARCH
	cargo=$$($(RUST_STD)) && $(SECCOMP) $$cargo build --release --locked --target $(TRIPLE) $(addprefix --package ,$(SHIPPED))
	install -D -t $(DIST) $(addprefix $(BUILT)/,runq proxy init runq-install runq-assets)
	$(RUN_$(ARCH)) $(DIST)/runq --build-id > $(DIST)/build-id
	$(RUN_$(ARCH)) $(DIST)/runq-install documents $(DIST)/share
	$(RUN_$(ARCH)) $(DIST)/runq-assets documents $(DIST)/share
	@! readelf -lW $(DIST)/runq $(DIST)/proxy $(DIST)/init $(DIST)/runq-* | grep INTERP || { echo "not static"; exit 1; }

assets: build ## the signed asset bundle, in target/bundle
	$(SANDBOX) bundle --distro $(DISTRO)

check: ## format, lints and the rules of the house
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo test --quiet --package runq-tests --test tidy

unit: ## the tests that need no sandbox
	cargo test --workspace --locked

unit-s390x: ## the same on a big-endian machine, emulated
	$(MAKE) deps emulated ARCH=s390x

# Optimised, as an emulated machine is fifty times slower. No seccomp filter is loaded, no bound of memory is set, and the real-time
# signal that ended a program is not the one that its parent hears of.
emulated: export CARGO_PROFILE_DEV_OPT_LEVEL = 1
emulated:
	cargo=$$($(RUST_STD)) && export CARGO_TARGET_S390X_UNKNOWN_LINUX_GNU_RUNNER=$$(release/qemu-user.sh $(ARCH) $(TARGET)/qemu-user) && \
	$(SECCOMP) $$cargo test --workspace --exclude runq-tests --bins --lib --locked --target $(TRIPLE) -- \
		--skip seccomp::tests::a_filter_holds_for_its_thread --skip reaper::tests::reports_codes_and_signals --skip memory_bound::tests

test: deps check unit ## everything; the sandbox is up for the end-to-end tests only
	$(MAKE) build
	RUNQ_SANDBOX=$(TARGET)/sandbox-test $(SANDBOX) run --distro $(DISTRO:auto=debian) --accel $(ACCEL:auto=tcg) -- $(E2E) $(NATIVE)
	$(MAKE) test-reproducible unit-s390x

# Not those that are about the installer or the host alone, nor those whose programs are of this machine.
FOREIGN := exit_code:: output:: signals:: terminal:: volume:: read_only:: network:: parallel:: dns:: identity:: assets_both:: --skip a_debian_image --skip assets_network
test-foreign: build ## end-to-end tests of an s390x guest on this machine, emulated
	$(MAKE) build ARCH=s390x
	RUNQ_SANDBOX=$(TARGET)/sandbox-foreign $(SANDBOX) run --distro debian --accel tcg --guest s390x -- $(MAKE) e2e-foreign

e2e-foreign: ## the same in a sandbox that is up and has such a guest (FOREIGN=name for some)
	RUNQ_TEST_RUNTIME=runq-s390x RUNQ_TEST_IMAGE=busybox-s390x $(E2E) $(FOREIGN)

test-s390x-host: build ## an s390x machine, emulated, that adopts a copied tree and runs a container
	$(MAKE) build ARCH=s390x
	cargo test --package runq-tests --test s390x_host -- --ignored --nocapture

test-docker26: build ## end-to-end tests with the Docker of Debian 13
	RUNQ_SANDBOX=$(TARGET)/sandbox-docker26 $(SANDBOX) run --distro debian --accel tcg --newer-docker -- $(E2E) $(or $(TEST),$(NATIVE))
	cargo test --package runq-tests --test newer_docker -- --ignored

# The sandbox is not needed, only what is built.
test-faults: build ## the installer killed, the disk failing, the power lost, at every point; part of it is in `make test`
	RUNQ_TEST_FAULTS=all $(E2E) install_faults install_power_loss install_hostile

sandbox: build ## a private Docker with runq in it, left running
	$(SANDBOX) up --distro $(DISTRO) --accel $(ACCEL)

e2e: ## the end-to-end tests in the sandbox that is up (TEST=name for some)
	$(E2E) $(or $(TEST),$(NATIVE))

sandbox-down: ## end it and remove every trace
	$(SANDBOX) down

demo: build ## the sandbox, and two VMs that talk
	$(SANDBOX) demo --distro $(DISTRO) --accel $(ACCEL)

soak: build ## 500 containers one by one and 20 at once: nothing is left
	RUNQ_SANDBOX=$(TARGET)/sandbox-soak $(SANDBOX) soak --distro debian --accel tcg

test-reproducible: build ## two builds that differ in all that must not matter give the same bytes
	$(SANDBOX) bundle --distro debian
	cargo build --package runq-assets
	cargo test --package runq-tests --test reproducible -- --ignored

test-sbom: build ## the bill of materials, by the validator of the SPDX project (from PyPI)
	$(SANDBOX) sbom --distro $(DISTRO)

bench: build ## start-up times and throughput; with GUEST=s390x also those of an emulated guest
	$(if $(GUEST),$(MAKE) build ARCH=$(GUEST))
	$(SANDBOX) bench --distro $(DISTRO) --accel $(ACCEL) $(if $(GUEST),--guest $(GUEST))

clean: sandbox-down ## remove what was built
	cargo clean
