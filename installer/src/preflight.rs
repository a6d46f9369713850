//! Everything that can be known to be wrong before anything is changed. Runs on the host; reads only.

use crate::docker_config::is_safe_word;
use runq_bundle::manifest::Manifest;
use rustix::fs::StatVfsMountFlags;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a file system needs beside the files themselves: directories, journals, daemon.json.
const SPARE_BYTES: u64 = 16 << 20;

/// A reason not to start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PreflightError {
    #[error("no bundle for {arch} in {directory}: there is no file {pattern}")]
    NoBundle { arch: String, directory: PathBuf, pattern: String },
    #[error("several bundles for {arch}: {}", found.join(", "))]
    SeveralBundles { arch: String, found: Vec<String> },
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("the bundle is for {found}, asked for is {wanted}")]
    Arch { found: String, wanted: String },
    #[error("{new} (sequence {new_sequence}) is older than the active {active} (sequence {active_sequence})")]
    Downgrade { new: String, new_sequence: u64, active: String, active_sequence: u64 },
    #[error("this program does not know the machine code of {arch}")]
    UnknownArch { arch: String },
    #[error("{path} is an ELF file for machine {found}, the manifest says {arch} ({wanted})")]
    Elf { path: String, found: u16, arch: String, wanted: u16 },
    #[error("{path} is no kernel that QEMU boots for {arch}: {expected}")]
    Kernel { path: String, arch: String, expected: &'static str },
    #[error("{path} has {free} MiB free, the bundle needs {needed} MiB")]
    Space { path: PathBuf, free: u64, needed: u64 },
    #[error("{path} {reason}")]
    Prefix { path: PathBuf, reason: &'static str },
    #[error("{path} {reason}")]
    Mount { path: PathBuf, reason: &'static str },
    #[error("{word:?} has characters other than A-Z a-z 0-9 _ @ % + = : , . / -")]
    Word { word: String },
    #[error("{name:?} cannot be the name of a runtime")]
    Name { name: String },
}

/// The bundle for an architecture beside this program.
pub(crate) fn bundle_beside(directory: &Path, arch: &str) -> Result<PathBuf, PreflightError> {
    let suffix = format!("-{arch}.tar.zst");
    let read_error = |source| PreflightError::Read { path: directory.to_owned(), source };
    let mut found = Vec::new();
    for item in directory.read_dir().map_err(read_error)? {
        let name = item.map_err(read_error)?.file_name().to_string_lossy().into_owned();
        if name.starts_with("runq-") && name.ends_with(&suffix) {
            found.push(name);
        }
    }
    found.sort();
    match found.as_slice() {
        [name] => Ok(directory.join(name)),
        [] => Err(PreflightError::NoBundle {
            arch: arch.to_owned(),
            directory: directory.to_owned(),
            pattern: format!("runq-*{suffix}"),
        }),
        _ => Err(PreflightError::SeveralBundles { arch: arch.to_owned(), found }),
    }
}

/// `x86_64`, or `x86_64+s390x` when host and guest differ: as in the bundle's file name.
pub(crate) fn arch_label(manifest: &Manifest) -> String {
    if manifest.host_arch == manifest.guest_arch {
        return manifest.host_arch.clone();
    }
    format!("{}+{}", manifest.host_arch, manifest.guest_arch)
}

pub(crate) fn check_arch(manifest: &Manifest, wanted: &str) -> Result<(), PreflightError> {
    let found = arch_label(manifest);
    if found == wanted { Ok(()) } else { Err(PreflightError::Arch { found, wanted: wanted.to_owned() }) }
}

/// Checks that a bundle is no older than the active version: an old release may have known weaknesses.
pub(crate) fn check_sequence(new: &Manifest, active: &Manifest) -> Result<(), PreflightError> {
    if new.sequence >= active.sequence {
        return Ok(());
    }
    Err(PreflightError::Downgrade {
        new: new.version.clone(),
        new_sequence: new.sequence,
        active: active.version.clone(),
        active_sequence: active.sequence,
    })
}

/// Checks that the bundle's files fit beside what is there.
pub(crate) fn check_space(directory: &Path, manifest: &Manifest) -> Result<(), PreflightError> {
    let statistics = rustix::fs::statvfs(directory)
        .map_err(|errno| PreflightError::Read { path: directory.to_owned(), source: errno.into() })?;
    let free = statistics.f_bavail.saturating_mul(statistics.f_frsize);
    let blocks = manifest.files.len() as u64 * statistics.f_bsize.min(4096);
    let needed = manifest.total_bytes().saturating_add(blocks).saturating_add(SPARE_BYTES);
    if free >= needed {
        return Ok(());
    }
    Err(PreflightError::Space {
        path: directory.to_owned(),
        free: free >> 20,
        needed: needed.div_ceil(1 << 20),
    })
}

/// Checks that files of a directory can be changed and, where that matters, executed.
pub(crate) fn check_mount(directory: &Path, executes: bool) -> Result<(), PreflightError> {
    let statistics = rustix::fs::statvfs(directory)
        .map_err(|errno| PreflightError::Read { path: directory.to_owned(), source: errno.into() })?;
    let reason = if statistics.f_flag.contains(StatVfsMountFlags::RDONLY) {
        "is mounted read-only"
    } else if executes && statistics.f_flag.contains(StatVfsMountFlags::NOEXEC) {
        "is mounted noexec: dockerd could not execute the runtime"
    } else {
        return Ok(());
    };
    Err(PreflightError::Mount { path: directory.to_owned(), reason })
}

/// Checks that nobody but us can put another directory in the place of the prefix, or of one on the way to it. A sticky
/// directory, as /tmp is, leaves each name to its owner.
pub(crate) fn check_way_to(prefix: &Path) -> Result<(), PreflightError> {
    const STICKY: u32 = 0o1000;
    const OTHERS_WRITE: u32 = 0o002;
    let us = rustix::process::geteuid().as_raw();
    for directory in prefix.ancestors().skip(1) {
        let metadata = match directory.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            metadata => {
                metadata.map_err(|source| PreflightError::Read { path: directory.to_owned(), source })?
            }
        };
        let reason = if metadata.uid() != us && metadata.uid() != 0 {
            "belongs to another user, who could replace what is in it"
        } else if metadata.mode() & (STICKY | OTHERS_WRITE) == OTHERS_WRITE {
            "can be written by other users, who could replace what is in it"
        } else {
            continue;
        };
        return Err(PreflightError::Prefix { path: directory.to_owned(), reason });
    }
    Ok(())
}

/// The prefix, or the nearest directory above it that exists.
pub(crate) fn existing_part(prefix: &Path) -> &Path {
    prefix.ancestors().find(|directory| directory.exists()).unwrap_or(prefix)
}

/// Checks that nobody but us can change what is in a directory, which root's dockerd will execute.
pub(crate) fn check_owner(directory: &Path) -> Result<(), PreflightError> {
    let read_error = |source| PreflightError::Read { path: directory.to_owned(), source };
    let us = rustix::process::geteuid().as_raw();
    let link = directory.symlink_metadata().map_err(read_error)?;
    let metadata = directory.metadata().map_err(read_error)?;
    let reason = if !metadata.is_dir() {
        "is not a directory"
    } else if [link.uid(), metadata.uid()].iter().any(|owner| *owner != us && *owner != 0) {
        "belongs to another user"
    } else if metadata.mode() & 0o022 != 0 {
        "can be written by other users"
    } else {
        return Ok(());
    };
    Err(PreflightError::Prefix { path: directory.to_owned(), reason })
}

/// Checks what will stand in daemon.json, and from there in dockerd's shell script.
pub(crate) fn check_runtime(name: &str, path: &str, args: &[String]) -> Result<(), PreflightError> {
    check_name(name)?;
    check_words([path].into_iter().chain(args.iter().map(String::as_str)))
}

fn check_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<(), PreflightError> {
    match words.into_iter().find(|word| !is_safe_word(word)) {
        Some(word) => Err(PreflightError::Word { word: word.to_owned() }),
        None => Ok(()),
    }
}

/// dockerd keeps `runc` for itself and takes a name with a slash for a shim's path.
fn check_name(name: &str) -> Result<(), PreflightError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if name.is_empty() || name == "runc" || !name.bytes().all(plain) {
        return Err(PreflightError::Name { name: name.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_one_bundle_beside_the_program() {
        let directory = tempfile::tempdir().unwrap();
        let touch = |name: &str| std::fs::write(directory.path().join(name), "").unwrap();
        touch("runq-1.0.0-s390x.tar.zst");
        touch("runq-1.0.0-x86_64+s390x.tar.zst");
        let error = bundle_beside(directory.path(), "x86_64").unwrap_err();
        assert!(error.to_string().contains("there is no file runq-*-x86_64.tar.zst"), "{error}");
        let found = bundle_beside(directory.path(), "s390x").unwrap();
        assert_eq!(found.file_name().unwrap(), "runq-1.0.0-s390x.tar.zst");
        touch("runq-1.1.0-s390x.tar.zst");
        assert!(matches!(
            bundle_beside(directory.path(), "s390x"),
            Err(PreflightError::SeveralBundles { .. })
        ));
    }

    #[test]
    fn refuses_a_way_that_others_can_change() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let prefix = directory.path().join("open/a/prefix");
        std::fs::create_dir_all(&prefix).unwrap();
        let set =
            |mode| std::fs::set_permissions(directory.path().join("open"), PermissionsExt::from_mode(mode));
        for (mode, good) in [(0o755, true), (0o1777, true), (0o777, false), (0o757, false)] {
            set(mode).unwrap();
            assert_eq!(check_way_to(&prefix).is_ok(), good, "{mode:o}");
        }
        assert_eq!(existing_part(&prefix.join("b/c")), prefix);
    }

    #[test]
    fn refuses_names_that_dockerd_does_not_take() {
        for name in ["", "runc", "a/b", "a b", "io.containerd.runc.v2"] {
            assert!(check_name(name).is_err(), "{name}");
        }
        check_name("runq-test_1").unwrap();
        assert!(check_words(["/var/lib/runq/runq", "$(id)"]).is_err());
    }
}
