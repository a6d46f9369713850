//! The bundles of both architectures from one call of the asset builder, of Debian's live archive: each is complete, and of its
//! architecture alone. On an x86_64 host; needs the network where the cache does not suffice.

use anyhow::Result;
use runq_tests::bundle::Bundle;
use runq_tests::{command, workspace};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(300);

/// Name, byte order (`EI_DATA`) and machine (`e_machine`).
const ARCHITECTURES: [(&str, u8, u16); 2] = [("x86_64", 1, 62), ("s390x", 2, 22)];

#[test]
#[ignore = "needs the programs of both architectures: run `make test-foreign`"]
fn one_call_builds_both_architectures_and_no_file_is_of_the_other() -> Result<()> {
    let dir = tempfile::tempdir_in(workspace::target())?;
    let bundles = Bundle::build_together("s390x", dir.path())?;
    for (bundle, (arch, data, machine)) in bundles.iter().zip(ARCHITECTURES) {
        let prefix = dir.path().join(arch);
        let mut install = Command::new(workspace::dist().join("runq-install"));
        install.args(["--arch", arch, "--no-docker", "--bundle"]).arg(&bundle.file);
        install.arg("--public-key").arg(&bundle.public_key).arg("--prefix").arg(&prefix);
        command::output(&mut install, LIMIT)?;
        let mut programs = Vec::new();
        for path in files(&prefix)? {
            if let Some(found) = elf_identity(&fs_err::read(&path)?) {
                assert_eq!(found, (data, machine), "{}", path.display());
                programs.push(path);
            }
        }
        let qemu = format!("qemu-system-{arch}");
        for name in ["runq", "runq-install", "proxy", &qemu, "libc.so.6"] {
            assert!(programs.iter().any(|path| path.ends_with(name)), "no {name} for {arch}");
        }
    }
    Ok(())
}

/// Byte order and machine of an ELF file.
fn elf_identity(content: &[u8]) -> Option<(u8, u16)> {
    let header = content.first_chunk::<20>().filter(|header| header.starts_with(b"\x7fELF"))?;
    let machine = [header[18], header[19]];
    let read = if header[5] == 2 { u16::from_be_bytes } else { u16::from_le_bytes };
    Some((header[5], read(machine)))
}

/// Regular files below a directory; links are not followed.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_dir() => found.extend(files(&entry.path())?),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    Ok(found)
}
