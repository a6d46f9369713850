//! A whole s390x machine, simulated: Debian's kernel, containerd, dockerd and runc for s390x under QEMU's emulation, and a
//! copy of the tree that `runq-install --arch s390x` staged. On the host as root; nothing of the machine is executed
//! outside of QEMU, and it has no network.

use crate::apt::Apt;
use crate::bundle::Bundle;
use crate::{command, report, workspace};
use anyhow::{Context, Result, ensure};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const ARCH: &str = "s390x";

/// From the start of the machine to its end.
const LIMIT: Duration = Duration::from_secs(3600);

/// For a step of the preparation.
const PREPARATION_LIMIT: Duration = Duration::from_secs(300);

const DISK_BYTES: &str = "2500M";
const MEMORY_MIB: &str = "3072";

/// What a Docker host needs beyond a kernel.
const PACKAGES: [&str; 14] = [
    "base-files",
    "bash",
    "busybox-static",
    "containerd",
    "coreutils",
    "docker.io",
    "grep",
    "iproute2",
    "iptables",
    "kmod",
    "mount",
    "runc",
    "sed",
    "util-linux",
];

/// The machine's files, in a directory that is given.
#[derive(Debug)]
pub struct S390xHost {
    dir: PathBuf,
}

/// A step that the machine reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was tried.
    pub name: String,
    /// Exit code.
    pub code: i32,
    /// End of the step, seconds after the start of the kernel.
    pub seconds: u32,
    /// What was printed since the step before.
    pub output: String,
}

impl S390xHost {
    /// Builds the bundles and installs them below `dir`, makes the machine's disk with a copy of the staged tree on it.
    ///
    /// # Errors
    /// When a part cannot be made; `make build ARCH=s390x` has to come first.
    pub fn prepare(dir: &Path) -> Result<Self> {
        let host = Self { dir: dir.to_owned() };
        let native = Bundle::build_for(ARCH)?;
        stage(ARCH, &native, &dir.join("staged"))?;
        // For its QEMU, which runs here and emulates that machine.
        stage(&format!("{}+{ARCH}", workspace::ARCH), &Bundle::build_foreign(ARCH)?, &dir.join("emulator"))?;
        report::step("machine: Debian's Docker for s390x, on a disk of its own");
        host.fill_root(&native)?;
        host.make_initrd()?;
        let mut mke2fs = Command::new("mke2fs");
        mke2fs.args(["-q", "-t", "ext4", "-d"]).arg(host.root()).arg(dir.join("disk.img")).arg(DISK_BYTES);
        command::output(&mut mke2fs, PREPARATION_LIMIT)?;
        Ok(host)
    }

    /// Runs it to its end and gives the steps that it reported.
    ///
    /// # Errors
    /// When it does not end in time; the error has the end of its console.
    pub fn run(&self) -> Result<Vec<Step>> {
        let tree = self.dir.join("emulator/qemu");
        let at = |path: &str| tree.join(path).display().to_string();
        let disk =
            format!("file={},format=raw,if=none,id=disk,cache=unsafe", self.dir.join("disk.img").display());
        let mut qemu = Command::new(at("lib64/ld-linux-x86-64.so.2"));
        qemu.args(["--library-path", &at("usr/lib/x86_64-linux-gnu"), &at("usr/bin/qemu-system-s390x")]);
        qemu.args([
            "-machine",
            "s390-ccw-virtio,accel=tcg",
            "-cpu",
            "max",
            "-m",
            MEMORY_MIB,
            "-L",
            &at("usr/share/qemu"),
        ]);
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none"]);
        qemu.args(["-kernel", &at("kernel"), "-initrd"]).arg(self.dir.join("initrd"));
        qemu.args(["-append", "console=ttysclp0 panic=-1 net.ifnames=0 loglevel=4"]);
        qemu.args(["-chardev", "stdio,id=console", "-device", "sclpconsole,chardev=console"]);
        qemu.args(["-drive", &disk, "-device", "virtio-blk-ccw,drive=disk", "-device", "virtio-rng-ccw"]);
        let finished = command::run(&mut qemu, &[], LIMIT)?;
        let console = finished.stdout_text().replace('\r', "");
        ensure!(console.contains("the end"), "the machine did not reach its end: {console}");
        Ok(steps(&console))
    }

    fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    fn fill_root(&self, native: &Bundle) -> Result<()> {
        let root = self.root();
        fs_err::create_dir(&root)?;
        Apt::update("bookworm", ARCH)?.unpack(&PACKAGES, &root)?;
        // What the packages' scripts would do.
        for (link, target) in
            [("usr/bin/sh", "bash"), ("usr/sbin/iptables", "iptables-legacy"), ("var/run", "../run")]
        {
            let link = root.join(link);
            if link.is_dir() && !link.is_symlink() {
                fs_err::remove_dir(&link)?;
            }
            symlink(target, &link).with_context(|| format!("cannot link {}", link.display()))?;
        }
        fs_err::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
        fs_err::write(root.join("etc/group"), "root:x:0:\n")?;
        fs_err::create_dir_all(root.join("etc/docker"))?;
        fs_err::write(root.join("etc/docker/daemon.json"), crate::sandbox::FOREIGN_DAEMON_JSON)?;
        fs_err::copy(&native.public_key, root.join("runq.pub"))?;
        write_program(&root.join("usr/sbin/host-init"), include_str!("s390x_host/host-init.sh"))?;
        // As README tells the administrator of a host without a network. `cp -r` loses nothing but what `adopt` gives back.
        let mut copy = Command::new("cp");
        command::output(
            copy.arg("-a").arg(self.dir.join("staged")).arg(root.join("var/lib/runq")),
            PREPARATION_LIMIT,
        )?;
        // The machine's own kernel is that of the bundle, and so are its modules.
        fs_err::create_dir_all(root.join("usr/lib"))?;
        symlink("/var/lib/runq/qemu/lib/modules", root.join("usr/lib/modules"))
            .context("cannot link the modules")
    }

    fn make_initrd(&self) -> Result<()> {
        let dir = self.dir.join("initrd-files");
        for sub in ["bin", "dev", "lib", "proc", "root"] {
            fs_err::create_dir_all(dir.join(sub))?;
        }
        fs_err::copy(self.root().join("usr/bin/busybox"), dir.join("bin/busybox"))?;
        write_program(&dir.join("init"), include_str!("s390x_host/initrd-init.sh"))?;
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(self.dir.join("staged/qemu/lib/modules")).arg(dir.join("lib"));
        command::output(&mut copy, PREPARATION_LIMIT)?;
        let mut cpio = Command::new("sh");
        cpio.current_dir(&dir).args(["-ec", "find . | busybox cpio -o -H newc > ../initrd"]);
        command::output(&mut cpio, PREPARATION_LIMIT).map(drop)
    }
}

fn stage(arch: &str, bundle: &Bundle, prefix: &Path) -> Result<()> {
    let mut install = Command::new(workspace::dist().join("runq-install"));
    install.args(["--arch", arch, "--no-docker", "--bundle"]).arg(&bundle.file);
    command::show(install.arg("--public-key").arg(&bundle.public_key).arg("--prefix").arg(prefix))
}

fn write_program(path: &Path, text: &str) -> Result<()> {
    fs_err::write(path, text)?;
    Ok(fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755))?)
}

fn steps(console: &str) -> Vec<Step> {
    let mut output = String::new();
    let mut steps = Vec::new();
    for line in console.lines() {
        match parse(line) {
            Some((name, code, seconds)) => {
                steps.push(Step {
                    name: name.to_owned(),
                    code,
                    seconds,
                    output: std::mem::take(&mut output),
                });
            }
            None => output.extend([line, "\n"]),
        }
    }
    steps
}

fn parse(line: &str) -> Option<(&str, i32, u32)> {
    let words: Vec<&str> = line.strip_prefix("step ")?.split(' ').collect();
    let [name, code, seconds] = words.as_slice() else { return None };
    Some((name, code.parse().ok()?, seconds.parse().ok()?))
}
