//! A base image: files of packages that are installed there in the wanted version are taken from it instead of from the
//! archive. Runs on the build machine; trusts the digest that names the image, which pins all else.

mod docker_archive;
mod layers;
mod oci;
mod registry;
mod registry_client;
mod source;
mod store;

pub(crate) use registry::RegistryError;
pub(crate) use source::ImageSource;

use crate::cache::Cache;
use crate::control;
use crate::deb::Member;
use crate::network::Network;
use crate::package_index::PackageRecord;
use crate::progress::Progress;
use crate::tree;
use layers::{Files, LayerError};
use oci::{Descriptor, Document, Image};
use runq_bundle::digest::{ParseDigestError, Sha256Digest};
use runq_bundle::registry::CredentialsError;
use std::collections::HashMap;
use std::io;
use store::{Folder, Pulled, Store, TarFile};

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BaseImageError {
    #[error("cannot read {path}")]
    Read { path: String, source: io::Error },
    #[error("cannot use the cache")]
    Cache(#[source] io::Error),
    #[error("cannot use the credentials for the registry")]
    Credentials(#[from] CredentialsError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("{name} is malformed")]
    Json { name: String, source: serde_json::Error },
    #[error("cannot use the digest {digest:?}, expected sha256:…")]
    Digest { digest: String, source: Option<ParseDigestError> },
    #[error("blob sha256:{expected} is not what its name says: found {size} bytes, SHA-256 {found}")]
    Mismatch { expected: Sha256Digest, found: Sha256Digest, size: usize },
    #[error("there is no image for linux/{arch}, found {found}")]
    NoImage { arch: String, found: String },
    #[error("there are several images for linux/{arch}: {digests}; name one by its digest (@sha256:…)")]
    Ambiguous { arch: String, digests: String },
    #[error("manifest {digest} has no configuration")]
    NoConfig { digest: String },
    #[error("{digest} has no size")]
    NoSize { digest: String },
    #[error("layers of type {media_type} are not supported, expected tar, tar+gzip or tar+zstd")]
    Layer { media_type: String },
    #[error("the image has {layers} layers and names {diff_ids}")]
    LayerCount { layers: usize, diff_ids: usize },
    #[error(transparent)]
    Contents(#[from] LayerError),
}

/// The file system of an image, and which packages are installed in it.
pub(crate) struct BaseImage {
    digest: Sha256Digest,
    files: Files,
    /// (name, architecture) → version.
    installed: HashMap<(String, String), String>,
}

impl BaseImage {
    /// Reads the image for an architecture, whatever this machine is; OCI and Debian name those that we build for alike.
    pub(crate) fn load(
        source: &ImageSource,
        arch: &str,
        (network, cache): (&Network, &Cache),
        progress: &Progress,
    ) -> Result<Option<Self>, BaseImageError> {
        let image = match source {
            ImageSource::None => return Ok(None),
            ImageSource::Registry(reference) => {
                progress.step(&format!("pull {} for {arch}", reference.whole()));
                let top = registry::pull(reference, arch, (network, cache), progress)?;
                let store = Pulled(cache);
                Self::read(&store, &oci::image(&store, &top, arch)?)?
            }
            ImageSource::Layout(folder, pin) => {
                let store = Folder(folder.clone());
                Self::read(&store, &oci::image(&store, &top(&store, *pin)?, arch)?)?
            }
            ImageSource::Archive(path, pin) => {
                let failed = |source| BaseImageError::Read { path: path.display().to_string(), source };
                let store = TarFile::open(path).map_err(failed)?;
                Self::read(&store, &docker_archive::image(&store, *pin, arch)?)?
            }
        };
        progress.step(&format!(
            "base image {source}: {}, {} packages",
            image.digest(),
            image.installed.len()
        ));
        Ok(Some(image))
    }

    fn read(store: &dyn Store, image: &Image) -> Result<Self, BaseImageError> {
        let mut files = Files::default();
        for layer in &image.layers {
            files.add(store, layer)?;
        }
        let status = files.text("var/lib/dpkg/status");
        let mut installed = HashMap::new();
        for stanza in control::stanzas(&status) {
            // Neither half installed nor only configured.
            let is_installed = stanza.get("Status").is_some_and(|status| status.ends_with(" ok installed"));
            let fields = ["Package", "Architecture", "Version"].map(|field| stanza.get(field));
            if let (true, [Some(name), Some(arch), Some(version)]) = (is_installed, fields) {
                installed.insert((name.to_owned(), arch.to_owned()), version.to_owned());
            }
        }
        Ok(Self { digest: image.digest, files, installed })
    }

    /// Of its manifest, or of its configuration where there is no manifest: `sha256:…`.
    pub(crate) fn digest(&self) -> String {
        format!("sha256:{}", self.digest)
    }

    /// The files of a package, when the image has it in this version and complete. Documentation may be absent.
    pub(crate) fn members(&self, package: &PackageRecord) -> Option<Vec<Member>> {
        let installed = self.installed.get(&(package.name.clone(), package.arch.clone()))?;
        if *installed != package.version {
            return None;
        }
        let info =
            |suffix: &str| self.files.text(&format!("var/lib/dpkg/info/{}{suffix}.list", package.name));
        let list = [info(""), info(&format!(":{}", package.arch))].concat();
        let paths: Vec<String> = list.lines().filter_map(tree::normalise).collect();
        let mut members = Vec::new();
        for path in &paths {
            match self.files.get(path) {
                Some(kind) => members.push(Member { path: path.clone(), kind: kind.clone() }),
                None if is_directory(&paths, path) || is_documentation(path) => {}
                None => return None,
            }
        }
        (!members.is_empty()).then_some(members)
    }
}

/// Where to begin in a layout: at what the user pins, or at all that it has.
fn top(store: &dyn Store, pin: Option<Sha256Digest>) -> Result<Document, BaseImageError> {
    match pin {
        Some(pin) => {
            let digest = format!("sha256:{pin}");
            let pinned = Descriptor { media_type: String::new(), digest, size: None, platform: None };
            Ok(Document { manifests: vec![pinned], config: None, layers: Vec::new() })
        }
        None => Document::parse("index.json", &oci::read_unchecked(store, "index.json")?),
    }
}

/// dpkg lists directories too; in its lists they are prefixes of what follows.
fn is_directory(paths: &[String], path: &str) -> bool {
    path.is_empty()
        || paths.iter().any(|other| other.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')))
}

/// What images leave out, and nothing opens.
fn is_documentation(path: &str) -> bool {
    let folders = ["doc", "doc-base", "help", "info", "lintian", "locale", "man"];
    let name = path.strip_prefix("usr/share/").and_then(|rest| rest.split('/').next());
    name.is_some_and(|name| folders.contains(&name))
}

#[cfg(test)]
#[path = "base_image/tests.rs"]
mod tests;
