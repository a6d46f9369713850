//! The installed QEMU with the installed kernel and initrd, and nothing around them: shows whether an
//! accelerator works, and what the fastest possible start of a VM is. On the host as root (chroot into the
//! tree); trusts the bundle, which the installer has verified.

use crate::report;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// The first thing that init says.
const STARTED: &str = "runq-init: started";

/// How long KVM has to prove itself.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// How QEMU executes guest code in the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Accel {
    /// Hardware virtualisation.
    Kvm,
    /// Emulation.
    Tcg,
    /// KVM when the bundle's kernel boots under it, else TCG.
    Auto,
}

impl Accel {
    /// QEMU's name; boots the VM of `prefix` when that decides.
    #[must_use]
    pub fn choose(self, prefix: &Path) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
            Self::Auto => probe(prefix),
        }
    }
}

fn probe(prefix: &Path) -> &'static str {
    if let Err(error) = fs_err::OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        report::step(format_args!("accelerator: TCG (emulation), because KVM is not usable: {error}"));
        return "tcg";
    }
    report::step(format_args!("accelerator: trying KVM for at most {} s", PROBE_LIMIT.as_secs()));
    match boot(prefix, "kvm", PROBE_LIMIT) {
        Ok(time) => {
            report::detail(format_args!("KVM, the guest's init came up in {} ms", time.as_millis()));
            "kvm"
        }
        Err(error) => {
            report::detail(format_args!("TCG (emulation), because under KVM {error:#}"));
            "tcg"
        }
    }
}

/// Time from starting QEMU until the first instruction of init.
///
/// # Errors
/// When that does not come within `limit`.
pub fn boot(prefix: &Path, accel: &str, limit: Duration) -> Result<Duration> {
    let tree = prefix.join("qemu");
    let (qemu, arguments) = command_line(&tree, accel)?;
    let start = Instant::now();
    let mut child = Command::new("chroot")
        .arg(&tree)
        .arg(qemu)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("chroot cannot be started")?;
    let console = child.stdout.take().context("QEMU has no console")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(console).split(b'\n').map_while(std::result::Result::ok);
        let started = |line: &Vec<u8>| String::from_utf8_lossy(line).contains(STARTED);
        sender.send(lines.into_iter().any(|line| started(&line)).then(Instant::now))
    });
    let outcome = receiver.recv_timeout(limit);
    child.kill()?;
    child.wait()?;
    match outcome {
        Ok(Some(end)) => Ok(end - start),
        Ok(None) => bail!("QEMU ended before the guest's init came up"),
        Err(_) => bail!("the guest's init did not come up within {} s", limit.as_secs()),
    }
}

/// QEMU's path in the tree and the arguments that the proxy gives it, without devices.
fn command_line(tree: &Path, accel: &str) -> Result<(PathBuf, Vec<String>)> {
    let machine: Value = serde_json::from_slice(&fs_err::read(tree.join("machine.json"))?)?;
    let text = |key: &str| machine[key].as_str().with_context(|| format!("machine.json has no text {key:?}"));
    let texts = |key: &str| {
        let list = machine[key].as_array().with_context(|| format!("machine.json has no list {key:?}"))?;
        Ok::<_, anyhow::Error>(list.iter().filter_map(Value::as_str).collect::<Vec<_>>())
    };
    let machine = [&[text("machine_type")?], &texts("machine_options")?[..]].concat().join(",");
    let mut args = vec![
        "-machine".to_owned(),
        format!("{machine},accel={accel}"),
        "-cpu".to_owned(),
        text(&format!("cpu_{accel}"))?.to_owned(),
        "-append".to_owned(),
        texts("kernel_command_line")?.join(" "),
        "-chardev".to_owned(),
        "stdio,id=console".to_owned(),
        "-device".to_owned(),
        format!("{},chardev=console", text("console_device")?),
    ];
    args.extend(texts("firmware_dirs")?.iter().flat_map(|dir| ["-L".to_owned(), format!("/{dir}")]));
    let fixed = "-m 256 -nodefaults -no-user-config -display none -no-reboot -kernel /kernel -initrd /initrd";
    args.extend(fixed.split(' ').map(str::to_owned));
    Ok((Path::new("/").join(text("qemu")?), args))
}
