//! Downloads: with timeouts, retries and bounds, checked by size and hash, kept in the cache.
//! Runs on the build machine; trusts no server.

use crate::cache::Cache;
use crate::progress::Progress;
use crate::release_file::IndexFile;
use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::blocking::Client;
use runq_bundle::digest::{Sha256Digest, sha256};
use std::io::{self, Read};
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For every read of a body, so that a slow download may take long but a dead one does not.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Pauses before the second, third, … attempt.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(9)];

/// Why there is no content.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// The HTTP client cannot be set up.
    #[error("cannot set up HTTP")]
    Client(#[source] reqwest::Error),
    /// The server answered, but not with content.
    #[error("cannot fetch {url}: the server answers {status}")]
    Status { url: String, status: StatusCode },
    /// No connection, or it broke, on each attempt.
    #[error("cannot fetch {url}")]
    Request { url: String, source: reqwest::Error },
    /// The connection broke in the middle, on each attempt.
    #[error("cannot read {url}")]
    Body { url: String, source: io::Error },
    /// More bytes than announced or allowed.
    #[error("{url} has more than {allowed} bytes")]
    TooLarge { url: String, allowed: u64 },
    /// Other bytes than the signed index says.
    #[error("{url} is not what the index says: expected {} bytes, SHA-256 {}, found {found_size}, {found}", expected.size, expected.sha256)]
    Mismatch { url: String, expected: IndexFile, found_size: u64, found: Sha256Digest },
    /// The cache does not have it, and nothing may be fetched.
    #[error("the cache has no {url}, and --offline forbids to fetch it")]
    Offline { url: String },
    /// The cache directory cannot be used.
    #[error("cannot use the cache")]
    Cache(#[source] io::Error),
}

impl FetchError {
    /// The server does not have it: another address may.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Status { status, .. } if *status == StatusCode::NOT_FOUND)
    }

    /// The index and what it describes are of different times.
    pub(crate) fn is_out_of_step(&self) -> bool {
        self.is_not_found() || matches!(self, Self::Mismatch { .. } | Self::TooLarge { .. })
    }

    /// Another attempt may succeed.
    fn is_transient(&self) -> bool {
        match self {
            Self::Request { .. } | Self::Body { .. } => true,
            Self::Status { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            _ => false,
        }
    }
}

/// The way to the archives.
pub(crate) struct Fetcher<'a> {
    client: Client,
    cache: &'a Cache,
    progress: &'a Progress,
    offline: bool,
}

impl<'a> Fetcher<'a> {
    /// Downloads go to `cache` and are reported to `progress`; with `offline` there are none.
    pub(crate) fn new(cache: &'a Cache, progress: &'a Progress, offline: bool) -> Result<Self, FetchError> {
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(READ_TIMEOUT)
            .user_agent(concat!("runq-assets/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(FetchError::Client)?;
        Ok(Self { client, cache, progress, offline })
    }

    /// Where downloads go.
    pub(crate) fn cache(&self) -> &Cache {
        self.cache
    }

    /// Content of known size and hash, from the cache or else from the URL.
    pub(crate) fn verified(&self, url: &str, expected: IndexFile) -> Result<Bytes, FetchError> {
        if let Some(content) = self.cache.get(expected.sha256).map_err(FetchError::Cache)? {
            return Ok(content);
        }
        let content = self.unverified(url, expected.size, expected.size)?;
        let (found, found_size) = (sha256(&content), content.len() as u64);
        if found != expected.sha256 || found_size != expected.size {
            return Err(FetchError::Mismatch { url: url.to_owned(), expected, found_size, found });
        }
        self.cache.put(&content).map_err(FetchError::Cache)?;
        Ok(content)
    }

    /// Whether the cache seems to have it.
    pub(crate) fn has(&self, digest: Sha256Digest) -> bool {
        self.cache.has(digest)
    }

    /// Keeps in the cache what was fetched and then verified.
    pub(crate) fn keep(&self, content: &[u8]) -> Result<(), FetchError> {
        self.cache.put(content).map_err(FetchError::Cache)
    }

    /// Content of at most `allowed` bytes that somebody else has to verify. `size` is for the progress; 0: not known.
    pub(crate) fn unverified(&self, url: &str, size: u64, allowed: u64) -> Result<Bytes, FetchError> {
        if self.offline {
            return Err(FetchError::Offline { url: url.to_owned() });
        }
        let mut pauses = PAUSES.iter();
        loop {
            match self.attempt(url, size, allowed) {
                Err(error) if error.is_transient() => {
                    let Some(pause) = pauses.next() else { return Err(error) };
                    self.progress.step(&format!("  {error}: next attempt in {} s", pause.as_secs()));
                    std::thread::sleep(*pause);
                }
                result => return result,
            }
        }
    }

    fn attempt(&self, url: &str, size: u64, allowed: u64) -> Result<Bytes, FetchError> {
        let request = |source| FetchError::Request { url: url.to_owned(), source };
        let response = self.client.get(url).send().map_err(request)?;
        let status = response.status();
        if !status.is_success() {
            return Err(FetchError::Status { url: url.to_owned(), status });
        }
        let bar = self.progress.download(label(url), size);
        let mut content = Vec::new();
        bar.wrap_read(response.take(allowed + 1))
            .read_to_end(&mut content)
            .map_err(|source| FetchError::Body { url: url.to_owned(), source })?;
        bar.finish_and_clear();
        if content.len() as u64 > allowed {
            return Err(FetchError::TooLarge { url: url.to_owned(), allowed });
        }
        Ok(content.into())
    }
}

/// What the user sees of a URL: the file, or whose index it is when the file is named by its hash.
fn label(url: &str) -> &str {
    let path = url.split("/by-hash/").next().unwrap_or(url);
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
#[path = "fetch/tests.rs"]
mod tests;
