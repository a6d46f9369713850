//! A base image from an OCI layout directory: files of packages that are installed there in the wanted version are
//! taken from it instead of from the archive. Runs on the build machine; the caller trusts the layout's index, which
//! pins all else by digest.

use crate::control;
use crate::deb::{self, DebError, Member, MemberKind};
use crate::package_index::PackageRecord;
use crate::tree;
use bytes::Bytes;
use runq_bundle::digest::{ParseDigestError, Sha256Digest, sha256};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BaseImageError {
    #[error(transparent)]
    Read(#[from] io::Error),
    #[error("{path} is malformed", path = path.display())]
    Json { path: PathBuf, source: serde_json::Error },
    #[error("cannot use the digest {digest:?}, expected sha256:…")]
    Digest { digest: String, source: Option<ParseDigestError> },
    #[error("blob sha256:{expected} has the digest {found}")]
    Mismatch { expected: Sha256Digest, found: Sha256Digest },
    #[error("the layout has no image for linux/{arch}")]
    NoImage { arch: String },
    #[error("layers of type {media_type} are not supported")]
    Layer { media_type: String },
    #[error("cannot read a layer")]
    Tar(#[from] DebError),
}

/// The file system of an image, and which packages are installed in it.
pub(crate) struct BaseImage {
    /// Of its manifest, `sha256:…`.
    digest: String,
    files: BTreeMap<String, MemberKind>,
    /// Name → version.
    installed: HashMap<String, String>,
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

impl BaseImage {
    /// Reads the image for an architecture; OCI and Debian name those that we build for alike.
    pub(crate) fn read(layout: &Path, arch: &str) -> Result<Self, BaseImageError> {
        let path = layout.join("index.json");
        let mut index = parse(&path, &fs_err::read(&path)?)?;
        let mut digest = String::new();
        while index.layers.is_empty() {
            let manifest = index.manifests.iter().find(|manifest| {
                manifest
                    .platform
                    .as_ref()
                    .is_none_or(|platform| platform.os == "linux" && platform.architecture == arch)
            });
            let manifest = manifest.ok_or_else(|| BaseImageError::NoImage { arch: arch.to_owned() })?;
            let content = blob(layout, &manifest.digest)?;
            digest.clone_from(&manifest.digest);
            index = parse(&path, &content)?;
        }
        let mut image = Self { digest, files: BTreeMap::new(), installed: HashMap::new() };
        for layer in &index.layers {
            let suffix = match layer.media_type.rsplit(['.', '+']).next() {
                Some("tar") => "",
                Some("gzip") => ".gz",
                Some("zstd") => ".zst",
                _ => return Err(BaseImageError::Layer { media_type: layer.media_type.clone() }),
            };
            let content = blob(layout, &layer.digest)?;
            let unknown = || BaseImageError::Layer { media_type: layer.media_type.clone() };
            image.apply(deb::tar_members(deb::decoder(suffix, &content[..])?.ok_or_else(unknown)?)?);
        }
        let status = image.text("var/lib/dpkg/status");
        for stanza in control::stanzas(&status) {
            let installed = stanza.get("Status").is_some_and(|status| status.ends_with(" installed"));
            if let (true, Some(name), Some(version)) =
                (installed, stanza.get("Package"), stanza.get("Version"))
            {
                image.installed.insert(name.to_owned(), version.to_owned());
            }
        }
        Ok(image)
    }

    /// Of its manifest, `sha256:…`.
    pub(crate) fn digest(&self) -> String {
        self.digest.clone()
    }

    /// The files of a package, when the image has it in this version and complete. Documentation may be absent.
    pub(crate) fn members(&self, package: &PackageRecord) -> Option<Vec<Member>> {
        self.installed.get(&package.name).filter(|version| **version == package.version)?;
        let info = |suffix: &str| self.text(&format!("var/lib/dpkg/info/{}{suffix}.list", package.name));
        let list = [info(""), info(&format!(":{}", package.arch))].concat();
        let paths: Vec<String> = list.lines().filter_map(tree::normalise).collect();
        let mut members = Vec::new();
        for path in &paths {
            match self.files.get(path) {
                Some(kind) => members.push(Member { path: path.clone(), kind: kind.clone() }),
                None if is_directory(&paths, path) || path.starts_with("usr/share/") => {}
                None => return None,
            }
        }
        (!members.is_empty()).then_some(members)
    }

    /// Applies a layer with its whiteouts (OCI image spec, "Image Layer Filesystem Changeset").
    fn apply(&mut self, layer: Vec<Member>) {
        let mut added = BTreeMap::new();
        for member in layer {
            let Some(path) = tree::normalise(&member.path) else { continue };
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
            match name.strip_prefix(".wh.") {
                Some(".wh..opq") => self.remove_below(folder),
                Some(hidden) => {
                    let hidden = format!("{folder}/{hidden}");
                    let hidden = hidden.trim_start_matches('/');
                    self.files.remove(hidden);
                    self.remove_below(hidden);
                }
                None => {
                    let kind = match member.kind {
                        MemberKind::Directory => continue,
                        MemberKind::HardLink { target } => {
                            let target = tree::normalise(&target).unwrap_or_default();
                            match added.get(&target).or_else(|| self.files.get(&target)) {
                                Some(kind) => kind.clone(),
                                None => continue,
                            }
                        }
                        kind => kind,
                    };
                    added.insert(path, kind);
                }
            }
        }
        self.files.extend(added);
    }

    fn remove_below(&mut self, folder: &str) {
        let prefix = format!("{folder}/");
        self.files.retain(|path, _| !path.starts_with(&prefix));
    }

    fn text(&self, path: &str) -> String {
        match self.files.get(path) {
            Some(MemberKind::File { content, .. }) => String::from_utf8_lossy(content).into_owned(),
            _ => String::new(),
        }
    }
}

/// dpkg lists directories too; in its lists they are prefixes of what follows.
fn is_directory(paths: &[String], path: &str) -> bool {
    path.is_empty()
        || paths.iter().any(|other| other.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')))
}

fn parse(path: &Path, json: &[u8]) -> Result<Index, BaseImageError> {
    serde_json::from_slice(json).map_err(|source| BaseImageError::Json { path: path.to_owned(), source })
}

fn blob(layout: &Path, digest: &str) -> Result<Bytes, BaseImageError> {
    let unusable = |source| BaseImageError::Digest { digest: digest.to_owned(), source };
    let text = digest.strip_prefix("sha256:").ok_or_else(|| unusable(None))?;
    let expected: Sha256Digest = text.parse().map_err(|error| unusable(Some(error)))?;
    let content = fs_err::read(layout.join("blobs/sha256").join(text))?;
    let found = sha256(&content);
    if found != expected {
        return Err(BaseImageError::Mismatch { expected, found });
    }
    Ok(content.into())
}

#[cfg(test)]
#[path = "base_image/tests.rs"]
mod tests;
