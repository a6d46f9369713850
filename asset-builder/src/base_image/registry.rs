//! Pulls an image into the cache: what leads to it, its configuration and its layers, for one architecture. Runs on the
//! build machine; trusts the digest that the user names, or else the registry's answer to a tag over TLS.

use crate::base_image::BaseImageError;
use crate::base_image::oci::{self, Descriptor, Document};
use crate::base_image::registry_client::RegistryClient;
use crate::base_image::store::Pulled;
use crate::cache::{Cache, Partial};
use crate::network::Network;
use crate::progress::Progress;
use futures::{StreamExt, TryStreamExt};
use oci_distribution::Reference;
use oci_distribution::errors::OciDistributionError;
use reqwest::StatusCode;
use runq_bundle::digest::{Sha256Digest, sha256};
use runq_bundle::registry::Credentials;
use std::io;
use std::time::Duration;

const PARALLEL_LAYERS: usize = 4;
const ATTEMPTS: usize = 4;

/// Why an image cannot be pulled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    #[error("cannot start the runtime of the registry client")]
    Runtime(#[source] io::Error),
    #[error("cannot set up the registry client")]
    Client(#[source] Box<OciDistributionError>),
    #[error("{name} is not in the cache, and --offline forbids to pull it")]
    Offline { name: String },
    #[error("cannot set up HTTP")]
    Http(#[source] reqwest::Error),
    #[error("cannot get a token for {name}")]
    Token { name: String, source: Box<OciDistributionError> },
    #[error("cannot pull {name}")]
    Request { name: String, source: reqwest::Error },
    #[error("cannot pull {name}: the registry answers {status}")]
    Status { name: String, status: StatusCode },
    #[error("{name} has more than {allowed} bytes")]
    TooLarge { name: String, allowed: u64 },
    #[error("{registry} does not let us pull {name}{helper}")]
    Unauthorized { registry: String, name: String, helper: String },
    #[error("cannot keep {digest} of {name} in the cache")]
    Keep { name: String, digest: String, source: io::Error },
    #[error(
        "{digest} of {name} is not what its digest says: expected {expected} bytes, found {found}, SHA-256 {sha256}"
    )]
    Mismatch { name: String, digest: String, expected: u64, found: u64, sha256: Sha256Digest },
}

/// A registry, as one image of it is pulled.
pub(crate) struct Registry<'a> {
    client: RegistryClient,
    reference: &'a Reference,
    cache: &'a Cache,
    progress: &'a Progress,
    offline: bool,
}

/// Pulls all that the image of an architecture needs, and gives what the reference leads to: an index with one entry, the
/// digest of index or manifest.
pub(crate) fn pull(
    reference: &Reference,
    arch: &str,
    (network, cache): (&Network, &Cache),
    progress: &Progress,
) -> Result<Document, BaseImageError> {
    let registry = Registry::new(reference, network, cache, progress)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(RegistryError::Runtime)?.block_on(registry.pull(arch))
}

impl<'a> Registry<'a> {
    fn new(
        reference: &'a Reference,
        network: &Network,
        cache: &'a Cache,
        progress: &'a Progress,
    ) -> Result<Self, BaseImageError> {
        let registry = reference.registry();
        let credentials = Credentials::find(network.docker_config.as_deref(), registry)?;
        if let Some(helper) = &credentials.helper {
            progress.step(&format!(
                "docker-credential-{helper} has the credentials for {registry}; it is not run, the pull is anonymous"
            ));
        }
        let client = RegistryClient::new(reference, credentials, network)?;
        Ok(Self { client, reference, cache, progress, offline: network.offline })
    }

    async fn pull(&self, arch: &str) -> Result<Document, BaseImageError> {
        let top = match self.reference.digest() {
            Some(digest) => digest.to_owned(),
            None => self.resolve_tag().await?,
        };
        let mut descriptor =
            Descriptor { media_type: String::new(), digest: top, size: None, platform: None };
        let first = descriptor.clone();
        let manifest = loop {
            let document = self.document(&descriptor).await?;
            if document.manifests.is_empty() {
                break document;
            }
            descriptor = document.choose(arch)?.clone();
        };
        let parts = manifest.config.iter().chain(&manifest.layers);
        let pulls = futures::stream::iter(parts.map(|part| self.blob(part)));
        pulls.buffer_unordered(PARALLEL_LAYERS).try_collect::<Vec<()>>().await?;
        Ok(Document { manifests: vec![first], config: None, layers: Vec::new() })
    }

    /// Tags move, so the registry is asked each time.
    async fn resolve_tag(&self) -> Result<String, BaseImageError> {
        let name = self.reference.whole();
        if self.offline {
            return Err(RegistryError::Offline { name }.into());
        }
        let content = self.client.manifest(self.reference.tag().unwrap_or("latest")).await?;
        self.cache.put(&content).map_err(BaseImageError::Cache)?;
        Ok(format!("sha256:{}", sha256(&content)))
    }

    async fn document(&self, descriptor: &Descriptor) -> Result<Document, BaseImageError> {
        let digest = oci::parse_digest(&descriptor.digest)?;
        if self.cache.get(digest).map_err(BaseImageError::Cache)?.is_none() {
            if self.offline {
                let name = self.reference.clone_with_digest(descriptor.digest.clone()).whole();
                return Err(RegistryError::Offline { name }.into());
            }
            let content = self.client.manifest(&descriptor.digest).await?;
            let found = sha256(&content);
            if found != digest {
                let (name, digest) = (self.reference.whole(), descriptor.digest.clone());
                let expected = descriptor.size.unwrap_or_default();
                let size = content.len() as u64;
                return Err(
                    RegistryError::Mismatch { name, digest, expected, found: size, sha256: found }.into()
                );
            }
            self.cache.put(&content).map_err(BaseImageError::Cache)?;
        }
        Document::parse(&descriptor.digest, &oci::read(&Pulled(self.cache), descriptor)?)
    }

    /// Streams a blob to the cache, from where an earlier attempt ended.
    async fn blob(&self, descriptor: &Descriptor) -> Result<(), BaseImageError> {
        let digest = oci::parse_digest(&descriptor.digest)?;
        let (name, no_size) =
            (self.reference.whole(), || BaseImageError::NoSize { digest: descriptor.digest.clone() });
        let size = descriptor.size.ok_or_else(no_size)?;
        let mut attempts = 1..ATTEMPTS;
        loop {
            let Some(mut partial) = self.cache.partial(digest).map_err(BaseImageError::Cache)? else {
                return Ok(());
            };
            if self.offline {
                return Err(
                    RegistryError::Offline { name: format!("{} of {name}", descriptor.digest) }.into()
                );
            }
            let result = self.stream(descriptor, size, &mut partial).await;
            match result {
                Ok(()) => return self.finish(partial, descriptor, size),
                Err(error) if attempts.next().is_none() => return Err(error.into()),
                Err(error @ (RegistryError::Status { .. } | RegistryError::Unauthorized { .. })) => {
                    return Err(error.into());
                }
                Err(error) => self.progress.step(&format!("  {error}: trying again")),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    fn finish(&self, partial: Partial, descriptor: &Descriptor, size: u64) -> Result<(), BaseImageError> {
        let found = partial.finish(size).map_err(BaseImageError::Cache)?;
        let (name, digest) = (self.reference.whole(), descriptor.digest.clone());
        found.map_or(Ok(()), |(sha256, found)| {
            Err(RegistryError::Mismatch { name, digest, expected: size, found, sha256 }.into())
        })
    }

    async fn stream(
        &self,
        descriptor: &Descriptor,
        size: u64,
        partial: &mut Partial,
    ) -> Result<(), RegistryError> {
        let (name, digest) = (self.reference.whole(), descriptor.digest.clone());
        let keep = |source| RegistryError::Keep { name: name.clone(), digest: digest.clone(), source };
        let start = partial.len().map_err(keep)?;
        let start = if start < size { start } else { 0 };
        let mut response = self.client.blob(&digest, start).await?;
        if start == 0 || response.status() != StatusCode::PARTIAL_CONTENT {
            partial.restart().map_err(keep)?;
        }
        let mut download = self.progress.download(&digest[..19.min(digest.len())], size);
        download.advance(partial.len().map_err(keep)?);
        let broken = |source| RegistryError::Request { name: format!("{digest} of {name}"), source };
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            partial.append(&chunk).map_err(keep)?;
            download.advance(chunk.len() as u64);
            // More than announced is found out at the end; it need not fill the disk.
            if partial.len().map_err(keep)? > size {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "registry/tests.rs"]
mod tests;
