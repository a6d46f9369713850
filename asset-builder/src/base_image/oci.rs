//! From an image index by a manifest to the layers of one architecture, each link checked by its digest.
//! Runs on the build machine; trusts the digest that it starts from.

use crate::base_image::BaseImageError;
use crate::base_image::layers::Layer;
use crate::base_image::store::Store;
use runq_bundle::digest::{Sha256Digest, sha256};
use serde::Deserialize;
use std::io::Read;

/// Index, manifest and configuration are small.
pub(crate) const MAX_DOCUMENT_BYTES: u64 = 8 << 20;
/// An index may be in an index, as layout directories have it.
const MAX_DEPTH: usize = 4;

/// An image index, or a manifest: registries decide which of both a name leads to.
#[derive(Debug, Deserialize)]
pub(crate) struct Document {
    #[serde(default)]
    pub(crate) manifests: Vec<Descriptor>,
    pub(crate) config: Option<Descriptor>,
    #[serde(default)]
    pub(crate) layers: Vec<Descriptor>,
}

/// A reference to another part.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: String,
    /// Always there, but in indices that we begin at.
    pub(crate) size: Option<u64>,
    pub(crate) platform: Option<Platform>,
}

/// What an image is for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Platform {
    pub(crate) architecture: String,
    pub(crate) os: String,
}

/// An image's configuration.
#[derive(Debug, Deserialize)]
pub(crate) struct Config {
    #[serde(flatten)]
    platform: Platform,
    rootfs: RootFs,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

/// An image of one architecture.
#[derive(Debug)]
pub(crate) struct Image {
    /// Of the manifest, or of the configuration where there is no manifest.
    pub(crate) digest: Sha256Digest,
    pub(crate) layers: Vec<Layer>,
}

impl Document {
    /// Reads JSON.
    pub(crate) fn parse(name: &str, json: &[u8]) -> Result<Self, BaseImageError> {
        parse(name, json)
    }

    /// The one entry of an index that is for an architecture. An entry that does not say for what it is will do.
    pub(crate) fn choose(&self, arch: &str) -> Result<&Descriptor, BaseImageError> {
        let fits = |entry: &&Descriptor| entry.platform.as_ref().is_none_or(|platform| platform.is_for(arch));
        let mut found = self.manifests.iter().filter(fits);
        let platforms = self.manifests.iter().filter_map(|entry| entry.platform.as_ref());
        let first = found.next().ok_or_else(|| BaseImageError::NoImage {
            arch: arch.to_owned(),
            found: platforms.map(Platform::to_string).collect::<Vec<_>>().join(", "),
        })?;
        let mut digests: Vec<&str> = found.map(|entry| entry.digest.as_str()).collect();
        digests.retain(|digest| *digest != first.digest);
        if !digests.is_empty() {
            digests.insert(0, &first.digest);
            return Err(BaseImageError::Ambiguous { arch: arch.to_owned(), digests: digests.join(", ") });
        }
        Ok(first)
    }
}

impl Platform {
    fn is_for(&self, arch: &str) -> bool {
        self.os == "linux" && self.architecture == arch
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)
    }
}

impl Config {
    /// Reads JSON and checks for what the image is.
    pub(crate) fn parse(name: &str, json: &[u8], arch: &str) -> Result<Self, BaseImageError> {
        let config: Self = parse(name, json)?;
        if !config.platform.is_for(arch) {
            let found = config.platform.to_string();
            return Err(BaseImageError::NoImage { arch: arch.to_owned(), found });
        }
        Ok(config)
    }

    /// Layers at these paths, with what each one has to be.
    pub(crate) fn layers(
        &self,
        parts: Vec<(String, Option<(Sha256Digest, u64)>)>,
    ) -> Result<Vec<Layer>, BaseImageError> {
        let (layers, diff_ids) = (parts.len(), self.rootfs.diff_ids.len());
        if layers != diff_ids {
            return Err(BaseImageError::LayerCount { layers, diff_ids });
        }
        let layer = |((path, stored), diff_id): ((String, _), &String)| {
            Ok(Layer { path, stored, plain: parse_digest(diff_id)? })
        };
        parts.into_iter().zip(&self.rootfs.diff_ids).map(layer).collect()
    }
}

/// Follows an index to the image of an architecture.
pub(crate) fn image(store: &dyn Store, top: &Document, arch: &str) -> Result<Image, BaseImageError> {
    let mut descriptor = top.choose(arch)?.clone();
    for _ in 0..MAX_DEPTH {
        let document = Document::parse(&descriptor.digest, &read(store, &descriptor)?)?;
        if document.manifests.is_empty() {
            return manifest(store, &descriptor, &document, arch);
        }
        descriptor = document.choose(arch)?.clone();
    }
    Err(BaseImageError::NoImage { arch: arch.to_owned(), found: "indices only".to_owned() })
}

fn manifest(
    store: &dyn Store,
    descriptor: &Descriptor,
    manifest: &Document,
    arch: &str,
) -> Result<Image, BaseImageError> {
    let no_config = || BaseImageError::NoConfig { digest: descriptor.digest.clone() };
    let config_descriptor = manifest.config.as_ref().ok_or_else(no_config)?;
    let config = Config::parse(&config_descriptor.digest, &read(store, config_descriptor)?, arch)?;
    let part = |layer: &Descriptor| {
        if !matches!(layer.media_type.rsplit(['.', '+']).next(), Some("tar" | "gzip" | "zstd")) {
            return Err(BaseImageError::Layer { media_type: layer.media_type.clone() });
        }
        let digest = parse_digest(&layer.digest)?;
        let size = layer.size.ok_or_else(|| BaseImageError::NoSize { digest: layer.digest.clone() })?;
        Ok((blob_path(digest), Some((digest, size))))
    };
    let parts = manifest.layers.iter().map(part).collect::<Result<_, _>>()?;
    Ok(Image { digest: parse_digest(&descriptor.digest)?, layers: config.layers(parts)? })
}

/// A small part, checked.
pub(crate) fn read(store: &dyn Store, descriptor: &Descriptor) -> Result<Vec<u8>, BaseImageError> {
    let expected = parse_digest(&descriptor.digest)?;
    let content = read_unchecked(store, &blob_path(expected))?;
    let found = sha256(&content);
    if found != expected || descriptor.size.is_some_and(|size| size != content.len() as u64) {
        return Err(BaseImageError::Mismatch { expected, found, size: content.len() });
    }
    Ok(content)
}

/// A small part that nothing pins.
pub(crate) fn read_unchecked(store: &dyn Store, path: &str) -> Result<Vec<u8>, BaseImageError> {
    let mut content = Vec::new();
    let failed = |source| BaseImageError::Read { path: path.to_owned(), source };
    let part = store.open(path).map_err(failed)?;
    part.take(MAX_DOCUMENT_BYTES).read_to_end(&mut content).map_err(failed)?;
    Ok(content)
}

/// `sha256:<hex>`
pub(crate) fn parse_digest(digest: &str) -> Result<Sha256Digest, BaseImageError> {
    let unusable = |source| BaseImageError::Digest { digest: digest.to_owned(), source };
    let hex = digest.strip_prefix("sha256:").ok_or_else(|| unusable(None))?;
    hex.parse().map_err(|error| unusable(Some(error)))
}

fn blob_path(digest: Sha256Digest) -> String {
    format!("blobs/sha256/{digest}")
}

/// Reads JSON.
pub(crate) fn parse<T: for<'a> Deserialize<'a>>(name: &str, json: &[u8]) -> Result<T, BaseImageError> {
    serde_json::from_slice(json).map_err(|source| BaseImageError::Json { name: name.to_owned(), source })
}
