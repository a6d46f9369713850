//! The content of a .deb: files, directories and links of its `data.tar`, in memory.
//! Runs on the build machine; the package's bytes are verified, its maintainer scripts are read and never run.

use crate::maintainer_scripts::{self, Deed, SCRIPTS};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use liblzma::read::XzDecoder;
use liblzma::stream::MtStreamBuilder;
use std::io::{self, Read};
use std::path::Path;
use tar::EntryType;

/// A record has a few thousand.
const MAX_CONTROL_BYTES: u64 = 1 << 20;

/// dpkg compresses blocks of 24 MiB, which are independent of each other.
const XZ_BLOCK_BYTES: u64 = 24 << 20;

/// For a package of more than one block: few are that large, and few at once.
const XZ_THREADS: u32 = 2;

/// For all of them; blocks for which it does not suffice are decompressed one by one.
const XZ_MEMORY_BYTES: u64 = 160 << 20;

/// What a member may claim to need before there is anything of it.
const MAX_RESERVED_BYTES: u64 = 64 << 20;

/// A member of the package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// As in the package: with or without a leading `./`.
    pub(crate) path: String,
    pub(crate) kind: MemberKind,
}

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MemberKind {
    Directory,
    File {
        content: Bytes,
        executable: bool,
    },
    Symlink {
        target: String,
    },
    /// Another path of the same package.
    HardLink {
        target: String,
    },
}

/// Why a package cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DebError {
    #[error("not a Debian package")]
    Ar(#[source] io::Error),
    #[error("format {found:?} is not supported, expected 2.0")]
    Format { found: String },
    #[error("there is no {name}")]
    NoPart { name: &'static str },
    #[error("compression of {member} is not supported, expected none, gz, xz or zst")]
    Compression { member: String },
    #[error("cannot read its tar archive")]
    Tar(#[source] io::Error),
    #[error("{path:?} is of a kind that a bundle cannot have")]
    Kind { path: String },
    #[error("a path is not UTF-8: {path:?}")]
    Path { path: std::path::PathBuf },
}

/// A package.
#[derive(Debug)]
pub(crate) struct Deb {
    pub(crate) control: Control,
    /// In its order.
    pub(crate) members: Vec<Member>,
}

/// What a package says about itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Control {
    /// Its own record (deb-control(5)).
    pub(crate) record: String,
    /// What its scripts would do.
    pub(crate) deeds: Vec<Deed>,
}

/// Reads a package once, from front to end (deb(5)).
pub(crate) fn read(deb: impl Read) -> Result<Deb, DebError> {
    let mut archive = ar::Archive::new(deb);
    let mut first = true;
    let mut about = None;
    while let Some(entry) = archive.next_entry() {
        let mut entry = entry.map_err(DebError::Ar)?;
        let name = String::from_utf8_lossy(entry.header().identifier()).into_owned();
        if first {
            let mut found = String::new();
            entry.read_to_string(&mut found).map_err(DebError::Ar)?;
            if name != "debian-binary" || !found.starts_with("2.") {
                return Err(DebError::Format { found: found.trim().to_owned() });
            }
            first = false;
        } else if let Some(suffix) = name.strip_prefix("control.tar") {
            about = Some(control(decompressed(entry, &name, suffix)?)?);
        } else if let Some(suffix) = name.strip_prefix("data.tar") {
            let control = about.ok_or(DebError::NoPart { name: "control.tar" })?;
            return Ok(Deb { control, members: tar_members(decompressed(entry, &name, suffix)?)? });
        }
    }
    Err(DebError::NoPart { name: "data.tar" })
}

/// A reader of the plain bytes of a member.
fn decompressed<'a, R: Read>(
    data: ar::Entry<'a, R>,
    member: &str,
    suffix: &str,
) -> Result<Box<dyn Read + 'a>, DebError> {
    if suffix == ".xz" && data.header().size() > XZ_BLOCK_BYTES {
        let mut threads = MtStreamBuilder::new();
        threads.threads(XZ_THREADS).memlimit_threading(XZ_MEMORY_BYTES).memlimit_stop(u64::MAX);
        let stream = threads.decoder().map_err(|error| DebError::Tar(error.into()))?;
        return Ok(Box::new(XzDecoder::new_stream(data, stream)));
    }
    let data = decoder(suffix, data).map_err(DebError::Tar)?;
    data.ok_or_else(|| DebError::Compression { member: member.to_owned() })
}

fn control(data: impl Read) -> Result<Control, DebError> {
    let mut control = Control::default();
    for entry in tar::Archive::new(data).entries().map_err(DebError::Tar)? {
        let entry = entry.map_err(DebError::Tar)?;
        let path = entry.path().map_err(DebError::Tar)?.into_owned();
        let name = path.file_name().unwrap_or_default();
        let mut text = Vec::new();
        entry.take(MAX_CONTROL_BYTES).read_to_end(&mut text).map_err(DebError::Tar)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        if name == "control" {
            control.record = text;
        } else if let Some(script) = SCRIPTS.into_iter().find(|script| name == *script) {
            control.deeds.extend(maintainer_scripts::deeds(script, &text));
        }
    }
    if control.record.is_empty() { Err(DebError::NoPart { name: "control" }) } else { Ok(control) }
}

/// All members of a tar archive.
pub(crate) fn tar_members(data: impl Read) -> Result<Vec<Member>, DebError> {
    let mut archive = tar::Archive::new(data);
    let mut members = Vec::new();
    for entry in archive.entries().map_err(DebError::Tar)? {
        members.extend(member(entry.map_err(DebError::Tar)?)?);
    }
    Ok(members)
}

/// One member of a tar archive; `None` for what only describes others.
pub(crate) fn member<R: Read>(mut entry: tar::Entry<'_, R>) -> Result<Option<Member>, DebError> {
    let path = text(&entry.path().map_err(DebError::Tar)?)?;
    let target = match entry.link_name().map_err(DebError::Tar)? {
        Some(target) => text(&target)?,
        None => String::new(),
    };
    let kind = match entry.header().entry_type() {
        EntryType::Directory => MemberKind::Directory,
        EntryType::Symlink => MemberKind::Symlink { target },
        EntryType::Link => MemberKind::HardLink { target },
        EntryType::Regular | EntryType::Continuous => {
            let executable = entry.header().mode().map_err(DebError::Tar)? & 0o111 != 0;
            // A buffer that grows keeps up to twice the memory that it needs.
            let size = usize::try_from(entry.size().min(MAX_RESERVED_BYTES)).unwrap_or_default();
            let mut content = Vec::with_capacity(size);
            entry.read_to_end(&mut content).map_err(DebError::Tar)?;
            MemberKind::File { content: content.into(), executable }
        }
        EntryType::XGlobalHeader => return Ok(None),
        _ => return Err(DebError::Kind { path }),
    };
    Ok(Some(Member { path, kind }))
}

/// A reader of the plain bytes; `None` for a suffix that we do not know.
pub(crate) fn decoder<'a>(suffix: &str, data: impl Read + 'a) -> io::Result<Option<Box<dyn Read + 'a>>> {
    Ok(match suffix {
        "" => Some(Box::new(data)),
        ".gz" => Some(Box::new(MultiGzDecoder::new(data))),
        ".xz" => Some(Box::new(XzDecoder::new_multi_decoder(data))),
        ".zst" => Some(Box::new(zstd::Decoder::new(data)?)),
        _ => None,
    })
}

fn text(path: &Path) -> Result<String, DebError> {
    let text = path.to_str().ok_or_else(|| DebError::Path { path: path.to_owned() })?;
    Ok(text.to_owned())
}

#[cfg(test)]
#[path = "deb/tests.rs"]
mod tests;
