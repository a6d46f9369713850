//! Bundles from a web server: resumed where a connection broke, through the proxy of the environment (HTTPS_PROXY, NO_PROXY), with the
//! system's certificates and those of `--ca-file`. Runs on the host; trusts no server with more than its address.

use super::partial::{Partial, pour};
use super::{SourceError, certificates};
use crate::cli::Transport;
use reqwest::StatusCode;
use reqwest::blocking::{Client, Response};
use reqwest::header::{CONTENT_RANGE, RANGE};
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// For every read of a body, so that a slow download may take long but a dead one does not.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Pauses before further attempts; progress starts them anew.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(9)];

/// Fetches what is missing.
pub(super) fn download(url: &str, transport: &Transport, partial: &mut Partial) -> Result<(), SourceError> {
    let client = client(transport)?;
    let mut pauses = PAUSES.iter();
    loop {
        let before = partial.bytes();
        let Err(error) = attempt(&client, url, partial) else { return Ok(()) };
        if partial.bytes() > before {
            pauses = PAUSES.iter();
        }
        let transient = match &error {
            SourceError::Interrupted { .. } | SourceError::Range { .. } => true,
            SourceError::Request { source, .. } => !source.is_builder() && !source.is_redirect(),
            SourceError::Status { status, .. } => status.is_server_error(),
            _ => false,
        };
        match pauses.next() {
            Some(pause) if transient => std::thread::sleep(*pause),
            _ => return Err(error),
        }
    }
}

fn client(transport: &Transport) -> Result<Client, SourceError> {
    let mut builder = Client::builder().https_only(true).connect_timeout(CONNECT_TIMEOUT).timeout(None);
    builder = builder.user_agent(concat!("runq-install/", env!("CARGO_PKG_VERSION")));
    if let Some((path, pem)) = certificates(transport)? {
        let certificates = reqwest::Certificate::from_pem_bundle(&pem)
            .map_err(|source| SourceError::Certificates { path, source })?;
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(SourceError::Client)
}

fn attempt(client: &Client, url: &str, partial: &mut Partial) -> Result<(), SourceError> {
    let from = partial.bytes();
    let mut request = client.get(url).timeout(READ_TIMEOUT * 60);
    if from > 0 {
        request = request.header(RANGE, format!("bytes={from}-"));
    }
    let mut response =
        request.send().map_err(|source| SourceError::Request { url: url.to_owned(), source })?;
    match response.status() {
        StatusCode::OK if from > 0 => partial.restart()?,
        StatusCode::OK => {}
        StatusCode::PARTIAL_CONTENT if starts_at(&response, from) => {}
        StatusCode::RANGE_NOT_SATISFIABLE if total(&response) == Some(from) => return Ok(()),
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
            partial.restart()?;
            return Err(SourceError::Range { url: url.to_owned() });
        }
        status => return Err(SourceError::Status { url: url.to_owned(), status }),
    }
    if let Some(length) = response.content_length() {
        partial.expect(partial.bytes() + length);
    }
    pour(&mut response, url, partial)
}

/// `Content-Range: bytes FROM-TO/TOTAL`
fn content_range(response: &Response) -> Option<&str> {
    response.headers().get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")
}

fn starts_at(response: &Response, from: u64) -> bool {
    content_range(response).and_then(|range| range.split('-').next()) == Some(from.to_string().as_str())
}

fn total(response: &Response) -> Option<u64> {
    content_range(response)?.rsplit('/').next()?.parse().ok()
}
