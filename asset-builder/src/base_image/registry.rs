//! Pulls an image into the cache: what leads to it, its configuration and its layers, for one architecture. Runs on the
//! build machine; trusts the digest that the user names, or else the registry's answer to a tag over TLS.

use crate::base_image::BaseImageError;
use crate::base_image::credentials::Credentials;
use crate::base_image::oci::{self, Descriptor, Document};
use crate::base_image::store::Pulled;
use crate::cache::{Cache, Partial};
use crate::network::Network;
use crate::progress::Progress;
use futures::{StreamExt, TryStreamExt};
use oci_distribution::client::{
    BlobResponse, Certificate, CertificateEncoding, ClientConfig, ClientProtocol,
};
use oci_distribution::errors::OciDistributionError;
use oci_distribution::secrets::RegistryAuth;
use oci_distribution::{Client, Reference};
use runq_bundle::digest::Sha256Digest;
use std::io;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const PARALLEL_LAYERS: usize = 4;
const ATTEMPTS: usize = 4;

const ACCEPTED: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// Why an image cannot be pulled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    #[error("cannot start the runtime of the registry client")]
    Runtime(#[source] io::Error),
    #[error("cannot set up the registry client")]
    Client(#[source] Box<OciDistributionError>),
    #[error("{name} is not in the cache, and --offline forbids to pull it")]
    Offline { name: String },
    #[error("cannot pull {name}")]
    Manifest { name: String, source: Box<OciDistributionError> },
    #[error("{registry} does not let us pull {name}{helper}")]
    Unauthorized { registry: String, name: String, helper: String },
    #[error("cannot pull {digest} of {name}")]
    Blob { name: String, digest: String, source: Box<OciDistributionError> },
    #[error("cannot read {digest} of {name}")]
    Body { name: String, digest: String, source: io::Error },
    #[error(
        "{digest} of {name} is not what its digest says: expected {expected} bytes, found {found}, SHA-256 {sha256}"
    )]
    Mismatch { name: String, digest: String, expected: u64, found: u64, sha256: Sha256Digest },
}

/// A registry, as one image of it is pulled.
pub(crate) struct Registry<'a> {
    client: Client,
    credentials: Credentials,
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
        let plain = network.is_plain(registry).then(|| reference.resolve_registry().to_owned());
        let certificate =
            |data: &Vec<u8>| Certificate { encoding: CertificateEncoding::Pem, data: data.clone() };
        Network::prepare_tls();
        let client = Client::try_from(ClientConfig {
            protocol: ClientProtocol::HttpsExcept(plain.into_iter().collect()),
            extra_root_certificates: network.ca_certificates.iter().map(certificate).collect(),
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(READ_TIMEOUT),
            user_agent: concat!("runq-assets/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        })
        .map_err(|source| RegistryError::Client(Box::new(source)))?;
        Ok(Self { client, credentials, reference, cache, progress, offline: network.offline })
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
        let (content, digest) = self.manifest(self.reference).await?;
        self.cache.put(&content).map_err(BaseImageError::Cache)?;
        Ok(digest)
    }

    async fn document(&self, descriptor: &Descriptor) -> Result<Document, BaseImageError> {
        let digest = oci::parse_digest(&descriptor.digest)?;
        if self.cache.get(digest).map_err(BaseImageError::Cache)?.is_none() {
            let reference = self.reference.clone_with_digest(descriptor.digest.clone());
            if self.offline {
                return Err(RegistryError::Offline { name: reference.whole() }.into());
            }
            let (content, _) = self.manifest(&reference).await?;
            self.cache.put(&content).map_err(BaseImageError::Cache)?;
        }
        Document::parse(&descriptor.digest, &oci::read(&Pulled(self.cache), descriptor)?)
    }

    /// The client checks the digest that the reference has.
    async fn manifest(&self, reference: &Reference) -> Result<(Vec<u8>, String), RegistryError> {
        let answer = self.client.pull_manifest_raw(reference, &self.credentials.auth, &ACCEPTED).await;
        let (content, digest) = answer.map_err(|error| self.refused(reference, error))?;
        Ok((content.into(), digest))
    }

    fn refused(&self, reference: &Reference, error: OciDistributionError) -> RegistryError {
        let name = reference.whole();
        if !matches!(
            error,
            OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_)
        ) {
            return RegistryError::Manifest { name, source: Box::new(error) };
        }
        let helper = match (&self.credentials.helper, &self.credentials.auth) {
            (Some(helper), _) => format!(": docker-credential-{helper} has the credentials, but is not run"),
            (None, RegistryAuth::Anonymous) => ": there are no credentials for it".to_owned(),
            (None, _) => ": it refuses the credentials of Docker's config.json".to_owned(),
        };
        RegistryError::Unauthorized { registry: reference.registry().to_owned(), name, helper }
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
                Err(RegistryError::Blob { source, .. })
                    if !matches!(*source, OciDistributionError::RequestError(_)) =>
                {
                    return Err(
                        RegistryError::Blob { name, digest: descriptor.digest.clone(), source }.into()
                    );
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
        let blob = |source| RegistryError::Blob {
            name: name.clone(),
            digest: digest.clone(),
            source: Box::new(source),
        };
        let body = |source| RegistryError::Body { name: name.clone(), digest: digest.clone(), source };
        // The token for layers that are in the cache already was never asked for.
        self.client.store_auth_if_needed(self.reference.resolve_registry(), &self.credentials.auth).await;
        let start = partial.len().map_err(body)?;
        let mut stream = if start > 0 && start < size {
            match self.client.pull_blob_stream_partial(self.reference, digest.as_str(), start, None).await {
                Ok(BlobResponse::Partial(stream)) => stream.stream,
                Ok(BlobResponse::Full(stream)) => {
                    partial.restart().map_err(body)?;
                    stream.stream
                }
                Err(error) => return Err(blob(error)),
            }
        } else {
            partial.restart().map_err(body)?;
            self.client.pull_blob_stream(self.reference, digest.as_str()).await.map_err(blob)?.stream
        };
        let bar = self.progress.download(&digest[..19.min(digest.len())], size);
        bar.set_position(partial.len().map_err(body)?);
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(body)?;
            partial.append(&chunk).map_err(body)?;
            bar.inc(chunk.len() as u64);
            // More than announced is found out at the end; it need not fill the disk.
            if partial.len().map_err(body)? > size {
                break;
            }
        }
        bar.finish_and_clear();
        Ok(())
    }
}
