//! Our own programs, as `make build` leaves them in one directory, and their build id.
//! Runs on the build machine; programs are checked to be what the guest or a bare host can run.

use crate::elf;
use crate::recipe::BuildRules;
use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use std::path::Path;

/// What a bundle needs of our own.
pub(crate) struct Binaries {
    pub(crate) build_id: String,
    pub(crate) runq: Bytes,
    pub(crate) runq_install: Bytes,
    pub(crate) proxy: Bytes,
    pub(crate) init: Bytes,
}

impl Binaries {
    /// Reads `runq`, `runq-install`, `proxy`, `init` and `build-id`.
    pub(crate) fn read(folder: &Path, rules: &BuildRules) -> anyhow::Result<Self> {
        let build_id = fs_err::read_to_string(folder.join("build-id"))?.trim().to_owned();
        ensure!(!build_id.is_empty(), "{} is empty", folder.join("build-id").display());
        let program = |name: &str| program(&folder.join(name), rules);
        Ok(Self {
            build_id,
            runq: program("runq")?,
            runq_install: program("runq-install")?,
            proxy: program("proxy")?,
            init: program("init")?,
        })
    }
}

fn program(path: &Path, rules: &BuildRules) -> anyhow::Result<Bytes> {
    let content = fs_err::read(path)?;
    let linkage =
        elf::linkage(&content, rules.elf()).with_context(|| format!("cannot use {}", path.display()))?;
    if linkage.interpreter.is_some() || !linkage.needed.is_empty() {
        bail!("{} is not static: it needs {}", path.display(), linkage.needed.join(", "));
    }
    Ok(content.into())
}
