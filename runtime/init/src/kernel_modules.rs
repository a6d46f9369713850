//! Loads the modules that booting needs, in the order that the asset builder worked out. Trusts the initrd, which the
//! bundle's signature covers.

use anyhow::Context;
use rustix::io::Errno;
use std::path::Path;

/// Ends a module that carries a signature (kernel documentation, "Kernel module signing facility").
const SIGNATURE_MARKER: &[u8] = b"~Module signature appended~\n";

/// Loads every module named in the list whose condition holds. Modules that are loaded already are fine.
pub(crate) fn load_all(list: &str) -> anyhow::Result<()> {
    let names = std::fs::read_to_string(list).with_context(|| format!("cannot read {list}"))?;
    for path in wanted(&names, |condition| Path::new(condition).exists()) {
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

/// The paths of the list, one by one: loading a module may fulfil the condition of a later one. Blank lines and `#`
/// comments are skipped.
fn wanted(list: &str, holds: impl Fn(&str) -> bool) -> impl Iterator<Item = &str> {
    list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).filter_map(
        move |line| match line.split_once(' ') {
            None => Some(line),
            Some((path, condition)) => holds(condition).then_some(path),
        },
    )
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
    fn loads_in_order_what_has_no_condition_or_one_that_holds() {
        let list = "# comment\n/m/a.ko\n\n/m/b.ko /sys/bus/ap\n/m/c.ko /sys/bus/pci\n/m/d.ko\n";
        let found: Vec<_> = wanted(list, |condition| condition == "/sys/bus/pci").collect();
        assert_eq!(found, ["/m/a.ko", "/m/c.ko", "/m/d.ko"]);
    }

    #[test]
    fn hides_the_signature_of_a_signed_module_only() {
        assert_eq!(without_marker(b"\x7fELF~Module signature appended~\n"), b"\x7fELF");
        assert_eq!(without_marker(b"\x7fELF"), b"\x7fELF");
    }
}
