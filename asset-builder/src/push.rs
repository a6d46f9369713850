//! `push`: puts bundles into an OCI registry, as an image index with one manifest for each platform. Runs on the build machine; pushes
//! only what a trusted key has signed, and only the bytes that were verified.

use crate::cli::PushArgs;
use crate::network::{self, Network};
use crate::progress::Progress;
use anyhow::{Context, ensure};
use bytes::Bytes;
use indicatif::DecimalBytes;
use oci_distribution::client::{Certificate, CertificateEncoding, Client, ClientConfig, ClientProtocol};
use oci_distribution::secrets::RegistryAuth;
use oci_distribution::{Reference, RegistryOperation};
use runq_bundle::archive::BundleReader;
use runq_bundle::digest::sha256;
use runq_bundle::manifest::Manifest;
use runq_bundle::registry::{
    ARCH_ANNOTATION, ARTIFACT_TYPE, Credentials, LAYER_TYPE, TITLE_ANNOTATION, is_local, oci_arch,
};
use runq_bundle::signature::PublicKey;
use serde_json::{Value, json};
use std::path::Path;

const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// A bundle that was verified to its last byte.
struct Verified {
    name: String,
    content: Bytes,
    manifest: Manifest,
}

/// Pushes the bundles and then the index that names them; gives the index's digest.
pub(crate) fn push(args: &PushArgs, progress: &Progress) -> anyhow::Result<String> {
    let target =
        args.target.strip_prefix("oci://").context("the target has to be oci://REGISTRY/REPOSITORY:TAG")?;
    let reference: Reference = target.parse().with_context(|| format!("cannot use {target:?}"))?;
    ensure!(reference.digest().is_none(), "a push goes to a tag, not to a digest: {target}");
    let key = PublicKey::parse(&fs_err::read_to_string(&args.public_key)?)
        .with_context(|| format!("cannot use {}", args.public_key.display()))?;
    let mut bundles = Vec::new();
    for path in &args.bundles {
        bundles.push(verified(path, &key).with_context(|| format!("cannot verify {}", path.display()))?);
    }
    for (index, bundle) in bundles.iter().enumerate() {
        let twice =
            bundles[..index].iter().any(|other| arch_label(&other.manifest) == arch_label(&bundle.manifest));
        ensure!(!twice, "two bundles are for {}", arch_label(&bundle.manifest));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(Registry::new(args, reference)?.push(&bundles, progress))
}

fn verified(path: &Path, key: &PublicKey) -> anyhow::Result<Verified> {
    let content = Bytes::from(fs_err::read(path)?);
    let reader = BundleReader::open(std::io::Cursor::new(content.clone()), std::slice::from_ref(key))?;
    let manifest = reader.manifest().clone();
    reader.verify_entries()?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Verified { name, content, manifest })
}

fn arch_label(manifest: &Manifest) -> String {
    if manifest.host_arch == manifest.guest_arch {
        return manifest.guest_arch.clone();
    }
    format!("{}+{}", manifest.host_arch, manifest.guest_arch)
}

struct Registry {
    client: Client,
    auth: RegistryAuth,
    reference: Reference,
}

impl Registry {
    fn new(args: &PushArgs, reference: Reference) -> anyhow::Result<Self> {
        let registry = reference.resolve_registry().to_owned();
        let extra_root_certificates = match &args.ca_file {
            Some(path) => vec![Certificate { encoding: CertificateEncoding::Pem, data: fs_err::read(path)? }],
            None => Vec::new(),
        };
        let plain = if is_local(&registry) { vec![registry] } else { Vec::new() };
        let folder = args.docker_config.clone().or_else(network::docker_config);
        let login = Credentials::find(folder.as_deref(), reference.registry())?.login;
        let auth =
            login.map_or(RegistryAuth::Anonymous, |(user, password)| RegistryAuth::Basic(user, password));
        Network::prepare_tls();
        let client = Client::new(ClientConfig {
            protocol: ClientProtocol::HttpsExcept(plain),
            extra_root_certificates,
            user_agent: concat!("runq-assets/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        });
        Ok(Self { client, auth, reference })
    }

    async fn push(&self, bundles: &[Verified], progress: &Progress) -> anyhow::Result<String> {
        self.client.auth(&self.reference, &self.auth, RegistryOperation::Push).await?;
        let mut entries = Vec::new();
        for bundle in bundles {
            progress.step(&format!("push {} ({})", bundle.name, DecimalBytes(bundle.content.len() as u64)));
            entries.push(
                self.push_bundle(bundle).await.with_context(|| format!("cannot push {}", bundle.name))?,
            );
        }
        let index = json!({
            "schemaVersion": 2,
            "mediaType": INDEX_TYPE,
            "artifactType": ARTIFACT_TYPE,
            "manifests": entries,
        });
        let (bytes, descriptor) = document(&index, INDEX_TYPE)?;
        self.client
            .push_manifest_raw(&self.reference, bytes, INDEX_TYPE.parse()?)
            .await
            .with_context(|| format!("cannot push the index {}", self.reference))?;
        Ok(descriptor["digest"].as_str().unwrap_or_default().to_owned())
    }

    /// Gives the entry of the index.
    async fn push_bundle(&self, bundle: &Verified) -> anyhow::Result<Value> {
        let Manifest { version, host_arch, distribution, .. } = &bundle.manifest;
        // The smallest configuration that programs for images understand.
        let platform = json!({"architecture": oci_arch(host_arch), "os": "linux"});
        let mut config = platform.clone();
        config["rootfs"] = json!({"type": "layers", "diff_ids": []});
        let (config, config_descriptor) = document(&config, CONFIG_TYPE)?;
        self.push_blob(config).await?;
        let mut layer = descriptor(&bundle.content, LAYER_TYPE);
        layer["annotations"] = json!({TITLE_ANNOTATION: bundle.name});
        self.push_blob(bundle.content.clone()).await?;

        let annotations = json!({
            ARCH_ANNOTATION: arch_label(&bundle.manifest),
            "org.opencontainers.image.version": version,
            "org.runq.distribution": distribution,
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": ARTIFACT_TYPE,
            "config": config_descriptor,
            "layers": [layer],
            "annotations": annotations,
        });
        let (bytes, mut entry) = document(&manifest, MANIFEST_TYPE)?;
        let digest = entry["digest"].as_str().unwrap_or_default().to_owned();
        let by_digest = self.reference.clone_with_digest(digest);
        self.client.push_manifest_raw(&by_digest, bytes, MANIFEST_TYPE.parse()?).await?;
        entry["platform"] = platform;
        entry["annotations"] = annotations;
        entry["artifactType"] = json!(ARTIFACT_TYPE);
        Ok(entry)
    }

    async fn push_blob(&self, content: Bytes) -> anyhow::Result<()> {
        let digest = format!("sha256:{}", sha256(&content));
        if !self.client.blob_exists(&self.reference, &digest).await? {
            self.client.push_blob(&self.reference, content, &digest).await?;
        }
        Ok(())
    }
}

/// Bytes of a JSON document and their descriptor. The same bundles give the same bytes.
fn document(value: &Value, media_type: &str) -> anyhow::Result<(Bytes, Value)> {
    let bytes = Bytes::from(serde_json::to_vec(value)?);
    let descriptor = descriptor(&bytes, media_type);
    Ok((bytes, descriptor))
}

fn descriptor(bytes: &[u8], media_type: &str) -> Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{}", sha256(bytes)), "size": bytes.len()})
}
