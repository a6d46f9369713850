//! Loads the modules that booting needs, in the order that the asset builder worked out.

use anyhow::Context;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Loads every module named in the list; blank lines and `#` comments are skipped. Modules that are loaded already
/// are fine.
pub(crate) fn load_all(list: &str) -> anyhow::Result<()> {
    let names = std::fs::read_to_string(list).with_context(|| format!("cannot read {list}"))?;
    for path in names.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .with_context(|| format!("cannot open module {path}"))?;
        match rustix::system::finit_module(&file, c"", 0) {
            Ok(()) | Err(Errno::EXIST) => {}
            // A driver whose hardware this machine lacks.
            Err(Errno::NODEV) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot load module {path}")),
        }
    }
    Ok(())
}
