//! A file system of a test's own, mounted as long as its value lives. On the host as root.

use crate::command;
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// A mount.
pub struct Mounted {
    path: PathBuf,
}

impl Mounted {
    /// Mounts at a directory, with these words before it on the command line of mount(8).
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new(words: &[&str], path: &Path) -> Result<Self> {
        command::output(Command::new("mount").args(words).arg(path), LIMIT)?;
        Ok(Self { path: path.to_owned() })
    }

    /// An empty ext4 of so many MiB, in a file beside the directory.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn ext4(mib: u64, path: &Path) -> Result<Self> {
        let image = path.with_extension("image");
        fs_err::File::create(&image)?.set_len(mib << 20)?;
        command::output(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image), LIMIT)?;
        let image = image.display().to_string();
        Self::new(&["-o", "loop", &image], path)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Its failure would hide that of the test; the directory's own removal fails then, too.
        drop(command::output(Command::new("umount").arg(&self.path), LIMIT));
    }
}
