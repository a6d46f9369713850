//! The guest kernel as QEMU boots it: the image of the distribution, or the ELF file inside of it.
//! Runs on the build machine; the image's bytes are verified, and read with care all the same.

use crate::elf::{self, ElfError};
use crate::recipe::{BuildRules, KernelFormat};
use crate::tree::Tree;
use bytes::Bytes;
use object::elf::{NoteType, PT_LOAD, PT_NOTE};
use object::read::elf::{FileHeader, ProgramHeader};
use std::io::{self, Read};

/// Why an image cannot be booted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KernelError {
    #[error("not a bzImage of boot protocol 2.08 or later")]
    NotBzImage,
    #[error("the payload starts with {magic:02x?}, expected gzip, xz or zstd")]
    Compression { magic: Vec<u8> },
    #[error("cannot decompress the payload")]
    Decompress(#[source] io::Error),
    #[error("the payload has {found} bytes, its header says {expected}")]
    Size { expected: u32, found: usize },
    #[error("cannot read the kernel inside")]
    Elf(#[from] ElfError),
    #[error("cannot read the kernel's headers")]
    Headers(#[from] object::read::Error),
    #[error("the kernel has no PVH entry (ELF note Xen 18), so QEMU cannot boot it uncompressed")]
    NoPvhEntry,
}

/// The image that a kernel package brings, if it is among the files.
pub(crate) fn image(tree: &Tree) -> Option<&Bytes> {
    let (path, _) = tree.below("boot").find(|(path, _)| path.starts_with("boot/vmlinuz-"))?;
    tree.file(path)
}

/// The release of the kernel in `vmlinuz` (`uname -r`), where its header says where it is written.
pub(crate) fn release(image: &[u8], rules: &BuildRules) -> Option<String> {
    let start = match rules.kernel_format {
        KernelFormat::VmlinuxFromBzImage => {
            let offset = u16::from_le_bytes(image.get(0x20e..0x210)?.try_into().ok()?);
            0x200 + usize::from(offset)
        }
        // The parameter area of arch/s390/boot/head.S.
        KernelFormat::Vmlinuz => {
            usize::try_from(u64::from_be_bytes(image.get(0x10428..0x10430)?.try_into().ok()?)).ok()?
        }
    };
    let text = image.get(start..)?;
    let end = text.iter().position(|byte| !byte.is_ascii_graphic())?;
    (end > 0).then(|| String::from_utf8_lossy(&text[..end]).into_owned())
}

/// Converts `vmlinuz`.
pub(crate) fn bootable(image: &Bytes, rules: &BuildRules) -> Result<Bytes, KernelError> {
    match rules.kernel_format {
        KernelFormat::Vmlinuz => Ok(image.clone()),
        KernelFormat::VmlinuxFromBzImage => {
            let mut kernel = payload(image)?;
            trim(&mut kernel, rules)?;
            Ok(kernel.into())
        }
    }
}

/// The decompressed payload, by the setup header (Documentation/arch/x86/boot.rst in the kernel's sources).
fn payload(image: &[u8]) -> Result<Vec<u8>, KernelError> {
    const MAGIC: usize = 0x202;
    const VERSION: usize = 0x206;
    let number = |offset: usize| Some(u32::from_le_bytes(image.get(offset..offset + 4)?.try_into().ok()?));
    let header = || {
        let version = u16::from_le_bytes(image.get(VERSION..VERSION + 2)?.try_into().ok()?);
        if image.get(MAGIC..MAGIC + 4)? != b"HdrS" || version < 0x208 {
            return None;
        }
        let setup_sectors = match *image.get(0x1f1)? {
            0 => 4,
            sectors => usize::from(sectors),
        };
        let start = (setup_sectors + 1) * 512 + usize::try_from(number(0x248)?).ok()?;
        let payload = image.get(start..start + usize::try_from(number(0x24c)?).ok()?)?;
        let size = u32::from_le_bytes(*payload.last_chunk()?);
        Some((payload, size))
    };
    let (payload, expected) = header().ok_or(KernelError::NotBzImage)?;
    // The size is appended to the compressed data; in gzip's case it is the trailer of the format itself.
    let mut body = &payload[..payload.len() - 4];
    let mut kernel = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
    match payload {
        [0x1f, 0x8b, ..] => flate2::read::GzDecoder::new(payload).read_to_end(&mut kernel),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => liblzma::read::XzDecoder::new(body).read_to_end(&mut kernel),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            zstd::Decoder::new(&mut body).and_then(|decoder| decoder.single_frame().read_to_end(&mut kernel))
        }
        _ => return Err(KernelError::Compression { magic: payload.iter().take(4).copied().collect() }),
    }
    .map_err(KernelError::Decompress)?;
    if kernel.len() as u64 != u64::from(expected) {
        return Err(KernelError::Size { expected, found: kernel.len() });
    }
    Ok(kernel)
}

/// Checks that QEMU can boot the kernel directly, and drops what follows the last segment: section headers, and the
/// relocations that only the decompressor of the bzImage uses.
fn trim(kernel: &mut Vec<u8>, rules: &BuildRules) -> Result<(), KernelError> {
    let (header, endian) = elf::header(kernel, rules.elf())?;
    let mut end = size_of::<elf::Header>() as u64;
    let mut pvh = false;
    for segment in header.program_headers(endian, &kernel[..])? {
        if matches!(segment.p_type(endian), PT_LOAD | PT_NOTE) {
            end = end.max(segment.p_offset(endian) + segment.p_filesz(endian));
        }
        let Some(mut notes) = segment.notes(endian, &kernel[..])? else { continue };
        while let Some(note) = notes.next()? {
            const XEN_ELFNOTE_PHYS32_ENTRY: NoteType = NoteType(18);
            pvh |= note.name() == b"Xen" && note.n_type(endian) == XEN_ELFNOTE_PHYS32_ENTRY;
        }
    }
    if !pvh {
        return Err(KernelError::NoPvhEntry);
    }
    kernel.truncate(usize::try_from(end).unwrap_or(usize::MAX));
    kernel.shrink_to_fit();
    // e_shoff, and e_shentsize, e_shnum, e_shstrndx.
    kernel[0x28..0x30].fill(0);
    kernel[0x3a..0x40].fill(0);
    Ok(())
}

#[cfg(test)]
#[path = "kernel/tests.rs"]
mod tests;
