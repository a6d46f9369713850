//! What it took to complete QEMU, virtiofsd and the firmware: the files that are needed, beside all that their packages
//! depend on. Pure.

use crate::package_index::Weight;
use indicatif::DecimalBytes;
use serde::Serialize;
use std::fmt;

/// Both ways to find out what programs need, by their weight.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Resolution {
    /// Files that the ELF headers lead to, the programs and the firmware included.
    pub(crate) files: usize,
    /// Of these files.
    pub(crate) file_bytes: u64,
    /// Packages that had to be read to find them.
    pub(crate) read: Weight,
    /// All that the packages of the recipe depend on, which apt would install; nothing for locks that do not say.
    pub(crate) depends: Option<Weight>,
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, file_bytes, read, depends } = self;
        let (files_size, debs) = (DecimalBytes(*file_bytes), DecimalBytes(read.bytes));
        write!(f, "programs: {files} files, {files_size}, of {} packages, {debs}", read.packages)?;
        match depends {
            Some(all) => write!(f, " (Depends: {} packages, {})", all.packages, DecimalBytes(all.bytes)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_both_figures_when_both_are_known() {
        let read = Weight { packages: 2, bytes: 3_000_000 };
        let mut resolution = Resolution { files: 1, file_bytes: 4_000_000, read, depends: None };
        assert_eq!(resolution.to_string(), "programs: 1 files, 4.00 MB, of 2 packages, 3.00 MB");
        resolution.depends = Some(Weight { packages: 9, bytes: 8_000_000 });
        assert!(resolution.to_string().ends_with(" (Depends: 9 packages, 8.00 MB)"), "{resolution}");
    }
}
