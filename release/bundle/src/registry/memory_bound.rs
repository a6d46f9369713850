//! A bound of the process's memory while it talks to a registry: the client library reads tokens and manifests to their end,
//! and a hostile registry's has none. A process that would need more ends then, not the machine.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The bound; it is gone with this value.
#[derive(Debug)]
pub struct MemoryBound(Rlimit);

impl MemoryBound {
    /// Of so many bytes, or fewer where the process has a bound already.
    #[must_use]
    pub fn set(bytes: u64) -> Self {
        let before = getrlimit(Resource::Data);
        let current = before.current.map_or(bytes, |known| known.min(bytes));
        // A bound below the one that there is can always be set.
        setrlimit(Resource::Data, Rlimit { current: Some(current), maximum: before.maximum }).ok();
        Self(before)
    }
}

impl Drop for MemoryBound {
    fn drop(&mut self) {
        setrlimit(Resource::Data, self.0).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_for_its_time_and_raises_nothing() {
        let current = || getrlimit(Resource::Data).current;
        let before = current();
        let outer = MemoryBound::set(8 << 30);
        let bound = current();
        assert!(bound.is_some_and(|bytes| bytes <= 8 << 30));
        drop(MemoryBound::set(1 << 40));
        assert_eq!(current(), bound);
        drop(outer);
        assert_eq!(current(), before);
    }
}
