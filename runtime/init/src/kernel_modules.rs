//! Loads the modules that booting needs, in the order that the asset builder worked out. Trusts the initrd, which the
//! bundle's signature covers.

use anyhow::Context;
use rustix::io::Errno;

/// Ends a module that carries a signature (kernel documentation, "Kernel module signing facility").
const SIGNATURE_MARKER: &[u8] = b"~Module signature appended~\n";

/// Loads every module named in the list; blank lines and `#` comments are skipped. Modules that are loaded already
/// are fine.
pub(crate) fn load_all(list: &str) -> anyhow::Result<()> {
    let names = std::fs::read_to_string(list).with_context(|| format!("cannot read {list}"))?;
    for path in names.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let module = std::fs::read(path).with_context(|| format!("cannot read module {path}"))?;
        match rustix::system::init_module(without_marker(&module), c"") {
            Ok(()) | Err(Errno::EXIST) => {}
            // A driver whose hardware this machine lacks.
            Err(Errno::NODEV) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot load module {path}")),
        }
    }
    Ok(())
}

/// Keeps the kernel from verifying the signature, which was done for the bundle as a whole and costs 20 ms a module
/// under emulation. The module counts as unsigned: distribution kernels load it and set the taint flag `E`.
fn without_marker(module: &[u8]) -> &[u8] {
    module.strip_suffix(SIGNATURE_MARKER).unwrap_or(module)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_the_signature_of_a_signed_module_only() {
        assert_eq!(without_marker(b"\x7fELF~Module signature appended~\n"), b"\x7fELF");
        assert_eq!(without_marker(b"\x7fELF"), b"\x7fELF");
    }
}
