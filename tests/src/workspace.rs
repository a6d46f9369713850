//! Where things are: the checkout, what `make build` left, the cache. On the host; trusts the build.

use std::path::{Path, PathBuf};

/// Architecture of this machine, as `arch/` spells it.
pub const ARCH: &str = std::env::consts::ARCH;

/// Version of the product: all members of the workspace share it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The checkout.
#[must_use]
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

/// Cargo's target directory.
#[must_use]
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// The static binaries of this machine's architecture.
#[must_use]
pub fn dist() -> PathBuf {
    target().join("dist").join(ARCH)
}

/// Files that are worth keeping between sandboxes and checkouts.
#[must_use]
pub fn cache() -> PathBuf {
    let user_cache = match std::env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".cache"),
    };
    user_cache.join("runq")
}
