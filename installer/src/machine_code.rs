//! For whom are the programs of a tree? ELF files say so themselves, kernels by where they have their magic number.
//! Runs on the host; reads only.

use crate::preflight::PreflightError;
use object::Endianness;
use object::elf::{EM_S390, EM_X86_64, FileHeader32, FileHeader64};
use object::read::elf::FileHeader;
use runq_bundle::manifest::{Entry, EntryKind, Manifest};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The kernel in a tree.
const KERNEL: &str = "qemu/kernel";

/// Enough for an ELF header of either class.
const ELF_HEADER_BYTES: u64 = 64;

/// Name, offset and magic number of a kernel that is not an ELF file: Linux, Documentation/arch/x86/boot.rst, and
/// arch/s390/boot/head.S.
const X86_64_KERNEL: (&str, u64, &[u8]) = ("neither ELF nor bzImage", 0x202, b"HdrS");
const S390X_KERNEL: (&str, u64, &[u8]) = ("neither ELF nor an image of s390", 0x10008, b"S390EP");

/// Checks the machine of every ELF file of a tree: the host's, or the guest's for kernel, modules and firmware.
pub(crate) fn check_elf_files(tree: &Path, manifest: &Manifest) -> Result<(), PreflightError> {
    let files = manifest.files.iter().filter(|entry| matches!(entry.kind, EntryKind::File { .. }));
    for Entry { path, .. } in files {
        let full_path = tree.join(path);
        let mut header = Vec::new();
        File::open(&full_path)
            .and_then(|file| file.take(ELF_HEADER_BYTES).read_to_end(&mut header))
            .map_err(|source| PreflightError::Read { path: full_path.clone(), source })?;
        let Some(found) = elf_machine(&header) else {
            if path == KERNEL {
                check_kernel(&full_path, &manifest.guest_arch)?;
            }
            continue;
        };
        let arch = if runs_in_guest(path) { &manifest.guest_arch } else { &manifest.host_arch };
        let wanted = machine_of(arch)?;
        if found != wanted {
            return Err(PreflightError::Elf { path: path.clone(), found, arch: arch.clone(), wanted });
        }
    }
    Ok(())
}

fn runs_in_guest(path: &str) -> bool {
    path == KERNEL || path.contains("/lib/modules/") || path.contains("/share/")
}

fn machine_of(arch: &str) -> Result<u16, PreflightError> {
    match arch {
        "x86_64" => Ok(EM_X86_64.0),
        "s390x" => Ok(EM_S390.0),
        _ => Err(PreflightError::UnknownArch { arch: arch.to_owned() }),
    }
}

/// `e_machine`, when the bytes are an ELF header.
fn elf_machine(header: &[u8]) -> Option<u16> {
    fn machine<H: FileHeader<Endian = Endianness>>(header: &[u8]) -> Option<u16> {
        let header = H::parse(header).ok()?;
        Some(header.e_machine(header.endian().ok()?).0)
    }
    machine::<FileHeader64<Endianness>>(header).or_else(|| machine::<FileHeader32<Endianness>>(header))
}

/// Checks the magic number of a kernel that is not an ELF file.
fn check_kernel(path: &Path, arch: &str) -> Result<(), PreflightError> {
    let (expected, offset, magic) = match arch {
        "x86_64" => X86_64_KERNEL,
        "s390x" => S390X_KERNEL,
        _ => return Err(PreflightError::UnknownArch { arch: arch.to_owned() }),
    };
    let mut found = vec![0; magic.len()];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut found, offset));
    match read {
        Err(source) if source.kind() != std::io::ErrorKind::UnexpectedEof => {
            Err(PreflightError::Read { path: path.to_owned(), source })
        }
        Ok(()) if found == magic => Ok(()),
        _ => Err(PreflightError::Kernel { path: KERNEL.into(), arch: arch.to_owned(), expected }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_machine_of_this_test() {
        let header = std::fs::read("/proc/self/exe").unwrap();
        let machine = elf_machine(&header[..64]);
        assert_eq!(machine, machine_of(std::env::consts::ARCH).ok());
        assert_eq!(elf_machine(b"#!/bin/sh"), None);
        assert_eq!(elf_machine(b"\x7fELF"), None);
    }

    #[test]
    fn only_kernel_modules_and_firmware_run_in_the_guest() {
        for path in ["qemu/kernel", "qemu/lib/modules/6.1/kernel/a.ko", "qemu/usr/share/qemu/s390-ccw.img"] {
            assert!(runs_in_guest(path), "{path}");
        }
        for path in ["runq", "qemu/proxy", "qemu/usr/bin/qemu-system-s390x", "qemu/lib/x/libc.so.6"] {
            assert!(!runs_in_guest(path), "{path}");
        }
    }

    #[test]
    fn a_kernel_is_known_by_its_magic_number() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kernel");
        for (arch, (_, offset, magic), other) in
            [("x86_64", X86_64_KERNEL, "s390x"), ("s390x", S390X_KERNEL, "x86_64")]
        {
            let mut image = vec![0; usize::try_from(offset).unwrap()];
            image.extend_from_slice(magic);
            std::fs::write(&path, &image).unwrap();
            check_kernel(&path, arch).unwrap();
            let error = check_kernel(&path, other).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("qemu/kernel is no kernel that QEMU boots for {other}")),
                "{error}"
            );
            std::fs::write(&path, &image[..image.len() - 1]).unwrap();
            assert!(matches!(check_kernel(&path, arch), Err(PreflightError::Kernel { .. })));
        }
    }
}
