//! Requests to a registry whose answers have bounds: the client crate, which we ask for tokens alone, reads manifests and the
//! texts of errors to their end, and a hostile registry's has none. Runs on the build machine; trusts no registry.

use crate::base_image::oci::MAX_DOCUMENT_BYTES;
use crate::base_image::registry::RegistryError;
use crate::network::Network;
use oci_distribution::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_distribution::errors::OciDistributionError;
use oci_distribution::secrets::RegistryAuth;
use oci_distribution::{Client, Reference, RegistryOperation};
use reqwest::header::{ACCEPT, HeaderValue, RANGE};
use reqwest::{Response, StatusCode};
use runq_bundle::registry::Credentials;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const USER_AGENT: &str = concat!("runq-assets/", env!("CARGO_PKG_VERSION"));

const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// The way to one repository.
pub(crate) struct RegistryClient {
    tokens: Client,
    http: reqwest::Client,
    auth: RegistryAuth,
    /// A program that would have credentials.
    helper: Option<String>,
    reference: Reference,
    plain: bool,
}

impl RegistryClient {
    /// Asks nothing yet.
    pub(crate) fn new(
        reference: &Reference,
        credentials: Credentials,
        network: &Network,
    ) -> Result<Self, RegistryError> {
        Network::prepare_tls();
        let plain = network.is_plain(reference.registry());
        let host = reference.resolve_registry().to_owned();
        let pem = network.ca_certificates.as_deref().unwrap_or_default();
        let certificate =
            |data: &Vec<u8>| Certificate { encoding: CertificateEncoding::Pem, data: data.clone() };
        let tokens = Client::try_from(ClientConfig {
            protocol: ClientProtocol::HttpsExcept(plain.then_some(host).into_iter().collect()),
            extra_root_certificates: network.ca_certificates.iter().map(certificate).collect(),
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(READ_TIMEOUT),
            user_agent: USER_AGENT,
            ..ClientConfig::default()
        })
        .map_err(|source| RegistryError::Client(Box::new(source)))?;
        let http = reqwest::Certificate::from_pem_bundle(pem)
            .and_then(|certificates| {
                reqwest::Client::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .read_timeout(READ_TIMEOUT)
                    .tls_certs_merge(certificates)
                    .user_agent(USER_AGENT)
                    .build()
            })
            .map_err(RegistryError::Http)?;
        let Credentials { login, helper } = credentials;
        let auth =
            login.map_or(RegistryAuth::Anonymous, |(user, password)| RegistryAuth::Basic(user, password));
        Ok(Self { tokens, http, auth, helper, reference: reference.clone(), plain })
    }

    /// The manifest or index of a tag or digest, which the caller verifies.
    pub(crate) async fn manifest(&self, tag: &str) -> Result<Vec<u8>, RegistryError> {
        let mut response = self.get(&format!("manifests/{tag}"), 0).await?;
        let name = || self.name(&format!("manifests/{tag}"));
        let mut content = Vec::new();
        while let Some(chunk) =
            response.chunk().await.map_err(|source| RegistryError::Request { name: name(), source })?
        {
            content.extend_from_slice(&chunk);
            if content.len() as u64 > MAX_DOCUMENT_BYTES {
                return Err(RegistryError::TooLarge { name: name(), allowed: MAX_DOCUMENT_BYTES });
            }
        }
        Ok(content)
    }

    /// A blob from a byte on; registries may begin at the start all the same, and say so.
    pub(crate) async fn blob(&self, digest: &str, start: u64) -> Result<Response, RegistryError> {
        self.get(&format!("blobs/{digest}"), start).await
    }

    async fn get(&self, path: &str, start: u64) -> Result<Response, RegistryError> {
        let name = self.name(path);
        let token = self.tokens.auth(&self.reference, &self.auth, RegistryOperation::Pull).await;
        let token = token.map_err(|error| match error {
            OciDistributionError::AuthenticationFailure(_) => self.unauthorized(),
            error => RegistryError::Token { name: name.clone(), source: Box::new(error) },
        })?;
        let scheme = if self.plain { "http" } else { "https" };
        let (host, repository) = (self.reference.resolve_registry(), self.reference.repository());
        let url = format!("{scheme}://{host}/v2/{repository}/{path}");
        let mut request = self.http.get(url).header(ACCEPT, HeaderValue::from_static(ACCEPTED));
        if start > 0 {
            request = request.header(RANGE, format!("bytes={start}-"));
        }
        request = match (token, &self.auth) {
            (Some(token), _) => request.bearer_auth(token),
            (None, RegistryAuth::Basic(user, password)) => request.basic_auth(user, Some(password)),
            (None, _) => request,
        };
        let response =
            request.send().await.map_err(|source| RegistryError::Request { name: name.clone(), source })?;
        match response.status() {
            status if status.is_success() => Ok(response),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.unauthorized()),
            status => Err(RegistryError::Status { name, status }),
        }
    }

    fn unauthorized(&self) -> RegistryError {
        let helper = match (&self.helper, &self.auth) {
            (Some(helper), _) => format!(": docker-credential-{helper} has the credentials, but is not run"),
            (None, RegistryAuth::Anonymous) => ": there are no credentials for it".to_owned(),
            (None, _) => ": it refuses the credentials of Docker's config.json".to_owned(),
        };
        let (registry, name) = (self.reference.registry().to_owned(), self.reference.whole());
        RegistryError::Unauthorized { registry, name, helper }
    }

    /// For messages.
    fn name(&self, path: &str) -> String {
        format!("{path} of {}/{}", self.reference.registry(), self.reference.repository())
    }
}
