//! Tests of kernel images: a small ELF file with or without the PVH note, wrapped as a bzImage.

use super::*;
use crate::recipe::Architecture;
use std::io::Write;

fn rules() -> BuildRules {
    Architecture::load("x86_64").unwrap().build
}

/// A kernel: header, one note segment, and what `trim` has to drop.
fn vmlinux(note_name: &[u8; 4]) -> Vec<u8> {
    let mut kernel = b"\x7fELF\x02\x01\x01".to_vec();
    kernel.resize(64, 0);
    for (offset, value) in [(16, 2u16), (18, 62), (52, 64), (54, 56), (56, 1), (58, 64), (60, 0)] {
        kernel[offset..offset + 2].copy_from_slice(&value.to_le_bytes());
    }
    kernel[20] = 1;
    kernel[32] = 64;
    for value in [4u32, 4] {
        kernel.extend(value.to_le_bytes());
    }
    for value in [120u64, 120, 120, 20, 20, 4] {
        kernel.extend(value.to_le_bytes());
    }
    for value in [4u32, 4, 18] {
        kernel.extend(value.to_le_bytes());
    }
    kernel.extend(note_name);
    kernel.extend(0x0100_0000u32.to_le_bytes());
    kernel.extend(b"relocations");
    kernel
}

/// The payload follows two setup sectors and 16 bytes of decompressor.
fn bz_image(payload: &[u8]) -> Bytes {
    let mut image = vec![0; 2 * 512 + 16];
    image[0x1f1] = 1;
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
    image[0x248..0x24c].copy_from_slice(&16u32.to_le_bytes());
    image[0x24c..0x250].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
    image.extend(payload);
    image.extend(b"more");
    image.into()
}

fn sized(mut compressed: Vec<u8>, kernel: &[u8]) -> Vec<u8> {
    compressed.extend(u32::try_from(kernel.len()).unwrap().to_le_bytes());
    compressed
}

#[test]
fn decompresses_the_kernel_and_drops_what_qemu_does_not_load() {
    let kernel = vmlinux(b"Xen\0");
    let zstd = sized(zstd::encode_all(&kernel[..], 1).unwrap(), &kernel);
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 0);
    xz.write_all(&kernel).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&kernel).unwrap();
    for payload in [zstd, sized(xz.finish().unwrap(), &kernel), gzip.finish().unwrap()] {
        let bootable = bootable(&bz_image(&payload), &rules()).unwrap();
        assert_eq!(bootable.len(), kernel.len() - "relocations".len());
        assert_eq!(bootable[64..], kernel[64..bootable.len()]);
    }
}

#[test]
fn refuses_kernels_that_qemu_cannot_boot_directly() {
    let kernel = vmlinux(b"GNU\0");
    let image = bz_image(&sized(zstd::encode_all(&kernel[..], 1).unwrap(), &kernel));
    assert!(matches!(bootable(&image, &rules()), Err(KernelError::NoPvhEntry)));
}

#[test]
fn refuses_damaged_and_unknown_images() {
    let kernel = vmlinux(b"Xen\0");
    let wrong_size = bz_image(&sized(zstd::encode_all(&kernel[..], 1).unwrap(), b"short"));
    assert!(matches!(bootable(&wrong_size, &rules()), Err(KernelError::Size { expected: 5, .. })));
    let lz4 = bz_image(b"\x02\x21\x4c\x18....");
    assert!(matches!(bootable(&lz4, &rules()), Err(KernelError::Compression { .. })));
    for image in [&b""[..], &[0; 2000], &bz_image(b"")[..0x240]] {
        assert!(matches!(bootable(&Bytes::copy_from_slice(image), &rules()), Err(KernelError::NotBzImage)));
    }
}

#[test]
fn the_release_is_where_the_header_of_each_architecture_says() {
    let mut x86 = vec![0; 0x300];
    x86[0x20e..0x210].copy_from_slice(&0x50u16.to_le_bytes());
    x86[0x250..0x25b].copy_from_slice(b"6.12-amd64 ");
    assert_eq!(release(&x86, &rules()).as_deref(), Some("6.12-amd64"));
    let s390x = Architecture::load("s390x").unwrap().build;
    let mut image = vec![0; 0x1_0500];
    image[0x1_0428..0x1_0430].copy_from_slice(&0x1_0440u64.to_be_bytes());
    image[0x1_0440..0x1_044b].copy_from_slice(b"6.12-s390x ");
    assert_eq!(release(&image, &s390x).as_deref(), Some("6.12-s390x"));
    for image in [&[][..], &[0; 0x210], &[0; 0x1_0500]] {
        assert_eq!((release(image, &rules()), release(image, &s390x)), (None, None));
    }
}
