//! What a disk's file is. Runs on the host, before the guest does: a guest writes whatever it likes into its disks, so the
//! name decides whether a file is qcow2, never the content. A raw disk that begins like a qcow2 image after a while stays raw,
//! or is refused, but no backing file that a guest names is ever opened.

use anyhow::{Context, bail, ensure};
use fs_err::os::unix::fs::OpenOptionsExt;
use runq_contract::disk::Format;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// By this a file says that it is qcow2.
const SUFFIX: &str = "qcow2";

/// Magic, version, backing file, … incompatible features: all that is looked at (QEMU, `docs/interop/qcow2.txt`).
const HEADER_BYTES: usize = 80;
const MAGIC: [u8; 4] = *b"QFI\xfb";
const EXTERNAL_DATA: u64 = 1 << 2;

/// The format of a file of the host, which has to be a regular one.
pub(crate) fn format(path: &str) -> anyhow::Result<Format> {
    let path = Path::new(path);
    let kind = fs_err::metadata(path)?.file_type();
    if kind.is_dir() {
        bail!(
            "{}: expected the image of a disk, found a directory; Docker makes one of a path that does not exist",
            path.display()
        );
    }
    ensure!(
        !kind.is_block_device(),
        "{} is a block device: attach it with --device instead of --volume",
        path.display()
    );
    ensure!(kind.is_file(), "{} is no regular file, expected the image of a disk", path.display());
    let mut options = fs_err::OpenOptions::new();
    let file =
        options.read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    let mut header = Vec::new();
    file.take(HEADER_BYTES as u64)
        .read_to_end(&mut header)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let is_named_qcow2 = path.extension().is_some_and(|extension| extension == SUFFIX);
    judge(is_named_qcow2, &header).with_context(|| path.display().to_string())
}

fn judge(is_named_qcow2: bool, header: &[u8]) -> anyhow::Result<Format> {
    if !is_named_qcow2 {
        ensure!(
            !header.starts_with(&MAGIC),
            "begins like a qcow2 image, but is not called .{SUFFIX}: rename it if you made it so; if the guest did, it would \
             choose what the host reads"
        );
        return Ok(Format::Raw);
    }
    let big_endian = |at: usize, bytes: usize| {
        let field = header.get(at..at + bytes)?;
        Some(field.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)))
    };
    ensure!(header.starts_with(&MAGIC), "is called .{SUFFIX} but is no qcow2 image");
    let version = big_endian(4, 4).unwrap_or_default();
    ensure!((2..=3).contains(&version), "is qcow2 of version {version}, expected 2 or 3");
    ensure!(
        big_endian(8, 8) == Some(0),
        "has a backing file, which is not supported: `qemu-img rebase -b \"\"` or `qemu-img convert` makes one image of both"
    );
    let features = if version == 3 { big_endian(72, 8).unwrap_or(u64::MAX) } else { 0 };
    ensure!(features & EXTERNAL_DATA == 0, "keeps its data in another file, which is not supported");
    Ok(Format::Qcow2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version: u8, backing: u8, features: u8) -> Vec<u8> {
        let mut header = vec![0; HEADER_BYTES];
        header[..4].copy_from_slice(&MAGIC);
        (header[7], header[15], header[79]) = (version, backing, features);
        header
    }

    #[test]
    fn the_name_decides_and_the_content_must_agree() {
        assert_eq!(judge(false, b"").unwrap(), Format::Raw);
        assert_eq!(judge(true, &header(3, 0, 0)).unwrap(), Format::Qcow2);
        assert_eq!(judge(true, &header(2, 0, 0)[..72]).unwrap(), Format::Qcow2);
        let raw = judge(false, &header(3, 0, 0)).unwrap_err().to_string();
        assert!(raw.contains("not called .qcow2"), "{raw}");
        assert!(judge(true, b"anything else").is_err());
    }

    #[test]
    fn no_other_file_is_ever_opened() {
        for (header, expected) in [
            (header(3, 1, 0), "backing file"),
            (header(3, 0, 4), "another file"),
            (header(4, 0, 0), "version 4"),
            (header(3, 0, 0)[..20].to_vec(), "another file"),
        ] {
            let error = judge(true, &header).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn directories_and_devices_are_no_images() {
        assert!(format("/").unwrap_err().to_string().contains("found a directory"));
        assert!(format("/dev/null").unwrap_err().to_string().contains("no regular file"));
        assert!(format("/nonexistent/data.img").is_err());
    }
}
