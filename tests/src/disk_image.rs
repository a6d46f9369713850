//! Images of disks for tests, made by the ordinary tools. On the host as root; everything goes with its directory or value.

use crate::command;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// A file that is a disk.
pub struct DiskImage {
    file: PathBuf,
}

impl DiskImage {
    /// One that exists.
    #[must_use]
    pub fn at(file: PathBuf) -> Self {
        Self { file }
    }

    /// An empty raw disk of some MiB; the file has holes instead of zeros.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn blank(dir: &Path, name: &str, mib: u64) -> Result<Self> {
        let file = dir.join(name);
        fs_err::File::create_new(&file)?.set_len(mib << 20)?;
        Ok(Self { file })
    }

    /// A raw disk with a file system, of a size that each of them takes.
    ///
    /// # Errors
    /// When mkfs fails.
    pub fn formatted(dir: &Path, name: &str, kind: &str) -> Result<Self> {
        let image = Self::blank(dir, name, if kind.starts_with("ext") { 64 } else { 320 })?;
        let quiet = if kind == "btrfs" || kind.starts_with("ext") { "-q" } else { "-f" };
        command::output(Command::new(format!("mkfs.{kind}")).arg(quiet).arg(&image.file), LIMIT)?;
        Ok(image)
    }

    /// A qcow2 image over a file, as `qemu-img` makes it.
    ///
    /// # Errors
    /// When `qemu-img` fails.
    pub fn overlay(file: PathBuf, backing: &Path) -> Result<Self> {
        let mut create = Command::new("qemu-img");
        create.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).arg(backing).arg(&file);
        command::output(&mut create, LIMIT)?;
        Ok(Self { file })
    }

    /// The same content as qcow2.
    ///
    /// # Errors
    /// When `qemu-img` fails.
    pub fn to_qcow2(&self, file: PathBuf) -> Result<Self> {
        let mut convert = Command::new("qemu-img");
        convert.args(["convert", "-f", "raw", "-O", "qcow2"]).arg(&self.file).arg(&file);
        command::output(&mut convert, LIMIT)?;
        Ok(Self { file })
    }

    /// For the command line.
    #[must_use]
    pub fn path(&self) -> String {
        self.file.display().to_string()
    }

    /// Fails unless an ext file system was unmounted cleanly and is sound.
    ///
    /// # Errors
    /// See above.
    pub fn check_ext(&self) -> Result<()> {
        let state = command::output(Command::new("dumpe2fs").arg("-h").arg(&self.file), LIMIT)?;
        let is_clean =
            state.lines().any(|line| line.starts_with("Filesystem state:") && line.ends_with(" clean"));
        anyhow::ensure!(is_clean, "{} is not clean: {state}", self.path());
        command::output(Command::new("e2fsck").args(["-f", "-n"]).arg(&self.file), LIMIT).map(drop)
    }

    /// Fails unless the qcow2 image is sound.
    ///
    /// # Errors
    /// See above.
    pub fn check_qcow2(&self) -> Result<()> {
        command::output(Command::new("qemu-img").args(["check", "-q"]).arg(&self.file), LIMIT).map(drop)
    }
}

/// A block device of the host that is a file; detached when this value goes.
pub struct LoopDevice(String);

impl LoopDevice {
    /// Attaches the file to a free device.
    ///
    /// # Errors
    /// When losetup fails.
    pub fn of(image: &DiskImage) -> Result<Self> {
        let device =
            command::output(Command::new("losetup").args(["--find", "--show"]).arg(&image.file), LIMIT);
        device.map(Self).context("cannot make a loop device")
    }

    /// Of the device.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.0
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // A failure here would hide the one that ended the test.
        command::output(Command::new("losetup").args(["--detach", &self.0]), LIMIT).ok();
    }
}
