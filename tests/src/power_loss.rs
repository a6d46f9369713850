//! What a disk may hold after the power has failed in the middle of a program: its file operations are recorded as it makes
//! them, and replayed up to each of them, without those that no flush has promised to keep. On the host; trusts strace.
//!
//! The model is that of POSIX, and of journals: a name is on the disk when its directory was flushed, content and mode when the
//! file was, everything after `syncfs`. Before that, each may be there or not, whatever came first. One operation (a rename
//! also) is there as a whole or not at all, and a symbolic link has its target with its name.

mod disk;
mod recording;

pub use disk::Disk;
pub use recording::{Operation, record};

use crate::installation::Snapshot;

/// What is kept of the changes of names that no flush has covered, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// None.
    None,
    /// All.
    All,
    /// All but one.
    Without(usize),
    /// One alone.
    Only(usize),
}

impl Names {
    fn keep(self, change: usize) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Without(lost) => change != lost,
            Self::Only(kept) => change == kept,
        }
    }

    /// All choices among so many changes.
    fn choices(changes: usize) -> impl Iterator<Item = Self> {
        let one = (0..changes).flat_map(|change| [Self::Without(change), Self::Only(change)]);
        [Self::None, Self::All].into_iter().chain(one.filter(move |_| changes > 1))
    }
}

/// What a power loss leaves, and how it came to that.
#[derive(Debug, Clone)]
pub struct Wreck {
    /// What is on the disk.
    pub found: Snapshot,
    /// For messages.
    pub story: String,
}

impl Disk {
    /// Every state that a power loss may leave now, each once.
    ///
    /// # Errors
    /// When a name has no parent.
    pub fn wrecks(&self, moment: &str) -> anyhow::Result<Vec<Wreck>> {
        let mut wrecks: Vec<Wreck> = Vec::new();
        for names in Names::choices(self.unflushed()) {
            for contents in [false, true] {
                let found = self.after_power_loss(|change| names.keep(change), contents)?;
                if wrecks.iter().all(|wreck| wreck.found != found) {
                    let kept = if contents { "contents kept" } else { "contents lost" };
                    let story = format!("names: {names:?} of {}, {kept}, after {moment}", self.unflushed());
                    wrecks.push(Wreck { found, story });
                }
            }
        }
        Ok(wrecks)
    }
}
