//! Our own programs, as `make build` leaves them in one directory, and their build id.
//! Runs on the build machine; programs are checked to be what the guest or a bare host can run.

use crate::elf::{self, ElfError};
use crate::recipe::BuildRules;
use bytes::Bytes;
use std::io;
use std::path::PathBuf;

/// What a bundle needs of our own.
pub(crate) struct Binaries {
    pub(crate) build_id: String,
    pub(crate) runq: Bytes,
    pub(crate) runq_install: Bytes,
    pub(crate) proxy: Bytes,
    pub(crate) init: Bytes,
}

/// Why our programs cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BinaryError {
    #[error("cannot take the programs of this build")]
    Read(#[from] io::Error),
    #[error("{path} is empty", path = path.display())]
    NoBuildId { path: PathBuf },
    #[error("{path} is of build {found}, expected {expected}", path = path.display())]
    OtherBuild { path: PathBuf, found: String, expected: String },
    #[error("cannot use {path}", path = path.display())]
    Elf { path: PathBuf, source: ElfError },
    #[error("{path} is not static: it names an interpreter or needs libraries", path = path.display())]
    NotStatic { path: PathBuf },
}

impl Binaries {
    /// Reads `runq`, `runq-install` and `proxy` from the host's directory, `init` from the guest's, and `build-id` from
    /// both.
    pub(crate) fn read(host: &Built<'_>, guest: &Built<'_>) -> Result<Self, BinaryError> {
        let build_id = host.build_id()?;
        let of_guest = guest.build_id()?;
        if build_id != of_guest {
            return Err(BinaryError::OtherBuild {
                path: guest.folder.clone(),
                found: of_guest,
                expected: build_id,
            });
        }
        Ok(Self {
            build_id,
            runq: host.program("runq")?,
            runq_install: host.program("runq-install")?,
            proxy: host.program("proxy")?,
            init: guest.program("init")?,
        })
    }
}

/// What `make build` left for one architecture.
pub(crate) struct Built<'a> {
    pub(crate) folder: PathBuf,
    pub(crate) rules: &'a BuildRules,
}

impl Built<'_> {
    fn build_id(&self) -> Result<String, BinaryError> {
        let path = self.folder.join("build-id");
        let build_id = fs_err::read_to_string(&path)?.trim().to_owned();
        if build_id.is_empty() {
            return Err(BinaryError::NoBuildId { path });
        }
        Ok(build_id)
    }

    fn program(&self, name: &str) -> Result<Bytes, BinaryError> {
        program(self.folder.join(name), self.rules)
    }
}

fn program(path: PathBuf, rules: &BuildRules) -> Result<Bytes, BinaryError> {
    let content = fs_err::read(&path)?;
    match elf::linkage(&content, rules.elf()) {
        Err(source) => Err(BinaryError::Elf { path, source }),
        Ok(linkage) if linkage.interpreter.is_some() || !linkage.needed.is_empty() => {
            Err(BinaryError::NotStatic { path })
        }
        Ok(_) => Ok(content.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::fixture;
    use crate::recipe::{Architecture, ElfData, ElfMachine};

    fn read(init: Vec<u8>) -> Result<Binaries, BinaryError> {
        let rules = Architecture::load("x86_64").unwrap().build;
        let folder = tempfile::tempdir().unwrap();
        for name in ["runq", "runq-install", "proxy"] {
            fs_err::write(folder.path().join(name), fixture::elf(rules.elf(), None, &[], None)).unwrap();
        }
        fs_err::write(folder.path().join("init"), init).unwrap();
        fs_err::write(folder.path().join("build-id"), "abc\n").unwrap();
        let built = Built { folder: folder.path().to_owned(), rules: &rules };
        Binaries::read(&built, &built)
    }

    #[test]
    fn takes_static_programs_of_the_architecture_only() {
        let x86 = (ElfMachine::X86_64, ElfData::Little);
        assert_eq!(read(fixture::elf(x86, None, &[], None)).ok().unwrap().build_id, "abc");
        let dynamic = fixture::elf(x86, None, &["libc.so.6"], None);
        assert!(matches!(read(dynamic), Err(BinaryError::NotStatic { .. })));
        let foreign = fixture::elf((ElfMachine::S390x, ElfData::Big), None, &[], None);
        assert!(matches!(read(foreign), Err(BinaryError::Elf { .. })));
        assert!(matches!(read(b"#!/bin/sh".to_vec()), Err(BinaryError::Elf { .. })));
    }
}
