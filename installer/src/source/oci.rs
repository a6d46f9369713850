//! Bundles from an OCI registry: an index with one manifest for each platform, of which the one that was asked for is taken, whatever
//! machine this is. Runs on the host; believes digests, and trusts no registry with more than its address.

use super::partial::Partial;
use super::{SourceError, certificates};
use crate::cli::Transport;
use futures::StreamExt;
use oci_distribution::client::{
    BlobResponse, Certificate, CertificateEncoding, Client, ClientConfig, ClientProtocol,
};
use oci_distribution::errors::OciDistributionError;
use oci_distribution::manifest::{ImageIndexEntry, OciDescriptor, OciManifest};
use oci_distribution::secrets::RegistryAuth;
use oci_distribution::{Reference, RegistryOperation};
use runq_bundle::registry::{ARCH_ANNOTATION, Credentials, LAYER_TYPE, MemoryBound, is_local, oci_arch};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(60);

/// While a registry is talked to; some ten times what that takes.
const MEMORY_BYTES: u64 = 512 << 20;

/// Attempts at a blob that ends too early.
const ATTEMPTS: usize = 4;

/// Fetches what is missing of the bundle for an architecture.
pub(super) fn download(
    reference: &Reference,
    arch: &str,
    transport: &Transport,
    partial: &mut Partial,
) -> Result<(), SourceError> {
    let _bound = MemoryBound::set(MEMORY_BYTES);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|source| SourceError::Keep { path: transport.download_dir.clone(), source })?;
    let pull = Pull { client: client(reference, transport)?, auth: auth(reference, transport)?, reference };
    runtime.block_on(pull.run(arch, partial))
}

fn client(reference: &Reference, transport: &Transport) -> Result<Client, SourceError> {
    let registry = reference.resolve_registry();
    let plain = if is_local(registry) { vec![registry.to_owned()] } else { Vec::new() };
    let extra_root_certificates = certificates(transport)?
        .map(|(_, data)| Certificate { encoding: CertificateEncoding::Pem, data })
        .into_iter()
        .collect();
    Ok(Client::new(ClientConfig {
        protocol: ClientProtocol::HttpsExcept(plain),
        extra_root_certificates,
        platform_resolver: None,
        read_timeout: Some(TIMEOUT),
        connect_timeout: Some(TIMEOUT),
        user_agent: concat!("runq-install/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    }))
}

fn auth(reference: &Reference, transport: &Transport) -> Result<RegistryAuth, SourceError> {
    let credentials = Credentials::find(transport.docker_config.as_deref(), reference.registry())?;
    let login = credentials.login;
    Ok(login.map_or(RegistryAuth::Anonymous, |(user, password)| RegistryAuth::Basic(user, password)))
}

struct Pull<'a> {
    client: Client,
    auth: RegistryAuth,
    reference: &'a Reference,
}

impl Pull<'_> {
    async fn run(&self, arch: &str, partial: &mut Partial) -> Result<(), SourceError> {
        self.client
            .auth(self.reference, &self.auth, RegistryOperation::Pull)
            .await
            .map_err(|source| self.failed(source))?;
        let layer = self.layer(arch).await?;
        let expected = u64::try_from(layer.size).unwrap_or_default();
        if partial.bytes() > expected {
            partial.restart()?;
        }
        partial.expect(expected);
        for attempt in 1..=ATTEMPTS {
            if partial.bytes() == expected {
                break;
            }
            match self.blob(&layer, partial).await {
                Err(SourceError::Interrupted { .. }) if attempt < ATTEMPTS => {}
                result => result?,
            }
        }
        let found = partial.digest()?;
        if layer.digest != format!("sha256:{found}") {
            partial.discard();
            let (reference, expected) = (self.reference.to_string(), layer.digest);
            return Err(SourceError::Digest { reference, expected, found });
        }
        Ok(())
    }

    /// Adds what is missing of a blob.
    async fn blob(&self, layer: &OciDescriptor, partial: &mut Partial) -> Result<(), SourceError> {
        let url = self.reference.to_string();
        let from = partial.bytes();
        let mut stream = if from == 0 {
            self.client.pull_blob_stream(self.reference, layer).await.map_err(|source| self.failed(source))?
        } else {
            let response = self.client.pull_blob_stream_partial(self.reference, layer, from, None).await;
            match response.map_err(|source| self.failed(source))? {
                BlobResponse::Partial(stream) => stream,
                BlobResponse::Full(stream) => {
                    partial.restart()?;
                    stream
                }
            }
        }
        .stream;
        while let Some(chunk) = stream.next().await {
            let bytes = partial.bytes();
            let interrupted = |source| SourceError::Interrupted { url: url.clone(), bytes, source };
            partial.append(&url, &chunk.map_err(interrupted)?)?;
        }
        Ok(())
    }

    /// The bundle's descriptor.
    async fn layer(&self, arch: &str) -> Result<OciDescriptor, SourceError> {
        let mut reference = self.reference.clone();
        let mut manifest = self.manifest(&reference).await?;
        if let OciManifest::ImageIndex(index) = &manifest {
            let entry = choose(&index.manifests, arch).ok_or_else(|| SourceError::Platform {
                reference: self.reference.to_string(),
                arch: arch.to_owned(),
                found: index.manifests.iter().map(described).collect(),
            })?;
            reference = reference.clone_with_digest(entry.digest.clone());
            manifest = self.manifest(&reference).await?;
        }
        let artifact = |reason| SourceError::Artifact { reference: reference.to_string(), reason };
        let OciManifest::Image(image) = manifest else {
            return Err(artifact("an index leads to another index".to_owned()));
        };
        match image.layers.as_slice() {
            [layer] if layer.media_type == LAYER_TYPE => Ok(layer.clone()),
            [layer] => Err(artifact(format!("its layer is {}, not {LAYER_TYPE}", layer.media_type))),
            layers => Err(artifact(format!("it has {} layers, not one", layers.len()))),
        }
    }

    async fn manifest(&self, reference: &Reference) -> Result<OciManifest, SourceError> {
        let pulled = self.client.pull_manifest(reference, &self.auth).await;
        pulled.map(|(manifest, _)| manifest).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: OciDistributionError) -> SourceError {
        SourceError::Registry { reference: self.reference.to_string(), source }
    }
}

/// The entry with our annotation for the architecture; else the one for this platform, in an index that others have made.
fn choose<'a>(entries: &'a [ImageIndexEntry], arch: &str) -> Option<&'a ImageIndexEntry> {
    let named = entries.iter().find(|entry| annotation(entry) == Some(arch));
    named.or_else(|| {
        entries.iter().filter(|entry| annotation(entry).is_none()).find(|entry| {
            entry
                .platform
                .as_ref()
                .is_some_and(|platform| platform.architecture.to_string() == oci_arch(arch))
        })
    })
}

fn annotation(entry: &ImageIndexEntry) -> Option<&str> {
    entry.annotations.as_ref()?.get(ARCH_ANNOTATION).map(String::as_str)
}

fn described(entry: &ImageIndexEntry) -> String {
    let platform = || entry.platform.as_ref().map(|platform| platform.architecture.to_string());
    annotation(entry).map(str::to_owned).or_else(platform).unwrap_or_else(|| "an unnamed one".to_owned())
}
