//! What an ELF file says about itself: machine, byte order, interpreter, needed libraries.
//! Runs on the build machine; the file is data of another architecture and is never executed.

use crate::recipe::{ElfData, ElfMachine};
use object::Endianness;
use object::elf::{self, FileHeader64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};

/// Header of a 64-bit ELF file of either byte order.
pub(crate) type Header = FileHeader64<Endianness>;

const MAGIC: &[u8] = b"\x7fELF";

/// What matters for loading a program or a library.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Linkage {
    /// Absolute path of the dynamic linker.
    pub(crate) interpreter: Option<String>,
    /// Names of libraries (`DT_NEEDED`).
    pub(crate) needed: Vec<String>,
    /// Directories to search first (`DT_RUNPATH`, else `DT_RPATH`), as written.
    pub(crate) run_path: Vec<String>,
}

/// Why an ELF file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ElfError {
    #[error("not a readable 64-bit ELF file")]
    Malformed(#[from] object::read::Error),
    #[error("made for machine {machine} with {data} byte order, expected {expected:?}")]
    Foreign { machine: u16, data: &'static str, expected: (ElfMachine, ElfData) },
    #[error("a name in the dynamic section is not UTF-8")]
    Name(#[from] std::str::Utf8Error),
    #[error("the dynamic section has no string table")]
    NoStrings,
}

/// Whether a file is an ELF file.
pub(crate) fn is_elf(data: &[u8]) -> bool {
    data.starts_with(MAGIC)
}

/// The header, when the file is for this machine.
pub(crate) fn header(
    data: &[u8],
    expected: (ElfMachine, ElfData),
) -> Result<(&Header, Endianness), ElfError> {
    let header = Header::parse(data)?;
    let endian = header.endian()?;
    let machine = match header.e_machine(endian) {
        elf::EM_X86_64 => Some(ElfMachine::X86_64),
        elf::EM_S390 => Some(ElfMachine::S390x),
        _ => None,
    };
    let (order, data) = match endian {
        Endianness::Little => (ElfData::Little, "little"),
        Endianness::Big => (ElfData::Big, "big"),
    };
    if machine.map(|machine| (machine, order)) != Some(expected) {
        return Err(ElfError::Foreign { machine: header.e_machine(endian).0, data, expected });
    }
    Ok((header, endian))
}

/// The linkage of a program or library for this machine; nothing for one that is static.
pub(crate) fn linkage(data: &[u8], expected: (ElfMachine, ElfData)) -> Result<Linkage, ElfError> {
    let (header, endian) = header(data, expected)?;
    let segments = header.program_headers(endian, data)?;
    let mut linkage = Linkage::default();
    for segment in segments {
        if let Some(interpreter) = segment.interpreter(endian, data)? {
            linkage.interpreter = Some(std::str::from_utf8(interpreter)?.to_owned());
        }
        let Some(entries) = segment.dynamic(endian, data)? else { continue };
        let entry = |tag: elf::DynamicTag| entries.iter().filter(move |entry| entry.d_tag(endian) == tag);
        let value = |tag| entry(tag).next().map(|entry| entry.d_val(endian));
        let strings = value(elf::DT_STRTAB)
            .and_then(|address| segments.iter().find_map(|load| bytes_at(load, endian, data, address)));
        let text = |offset: u64| -> Result<String, ElfError> {
            let start = usize::try_from(offset).ok().and_then(|offset| strings?.get(offset..));
            let name =
                start.and_then(|start| start.split(|byte| *byte == 0).next()).ok_or(ElfError::NoStrings)?;
            Ok(std::str::from_utf8(name)?.to_owned())
        };
        for needed in entry(elf::DT_NEEDED) {
            linkage.needed.push(text(needed.d_val(endian))?);
        }
        if let Some(offset) = value(elf::DT_RUNPATH).or_else(|| value(elf::DT_RPATH)) {
            linkage.run_path = text(offset)?.split(':').map(str::to_owned).collect();
        }
    }
    Ok(linkage)
}

/// The bytes of a loaded segment from a virtual address on.
fn bytes_at<'a>(
    segment: &elf::ProgramHeader64<Endianness>,
    endian: Endianness,
    data: &'a [u8],
    address: u64,
) -> Option<&'a [u8]> {
    if segment.p_type(endian) != elf::PT_LOAD {
        return None;
    }
    let offset = usize::try_from(address.checked_sub(segment.p_vaddr(endian))?).ok()?;
    segment.data(endian, data).ok()?.get(offset..).filter(|bytes| !bytes.is_empty())
}

#[cfg(test)]
pub(crate) mod fixture;

#[cfg(test)]
mod tests {
    use super::*;

    const X86: (ElfMachine, ElfData) = (ElfMachine::X86_64, ElfData::Little);
    const S390: (ElfMachine, ElfData) = (ElfMachine::S390x, ElfData::Big);

    #[test]
    fn reads_the_linkage_in_both_byte_orders() {
        for expected in [X86, S390] {
            let file = fixture::elf(
                expected,
                Some("/lib/ld.so.1"),
                &["libc.so.6", "libz.so.1"],
                Some("$ORIGIN/x:/y"),
            );
            let linkage = linkage(&file, expected).unwrap();
            assert_eq!(linkage.interpreter.as_deref(), Some("/lib/ld.so.1"));
            assert_eq!(linkage.needed, ["libc.so.6", "libz.so.1"]);
            assert_eq!(linkage.run_path, ["$ORIGIN/x", "/y"]);
        }
    }

    #[test]
    fn a_static_program_needs_nothing() {
        assert_eq!(linkage(&fixture::elf(X86, None, &[], None), X86).unwrap(), Linkage::default());
    }

    #[test]
    fn refuses_other_machines_and_damaged_files() {
        let file = fixture::elf(S390, None, &[], None);
        let error = linkage(&file, X86).unwrap_err().to_string();
        assert!(error.contains("machine 22 with big byte order"), "{error}");
        assert!(matches!(linkage(&file[..20], S390), Err(ElfError::Malformed(_))));
        assert!(!is_elf(b"#!/bin/sh"));
    }
}
