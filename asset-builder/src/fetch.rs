//! Downloads: with timeouts, retries and bounds, checked by size and hash, kept in the cache. One that is interrupted goes
//! on where it ended. Runs on the build machine; trusts no server.

use crate::cache::{Cache, Partial};
use crate::chunks::Chunks;
use crate::network::Network;
use crate::progress::{Counted, Progress};
use crate::release_file::IndexFile;
use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::blocking::{Client, Response};
use reqwest::header::{CACHE_CONTROL, CONTENT_RANGE, RANGE};
use runq_bundle::digest::Sha256Digest;
use std::io::{self, Read};
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For every read of a body, so that a slow download may take long but a dead one does not.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Pauses before the second, third, … attempt.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(9)];
/// All that a download has in memory.
const CHUNK_BYTES: usize = 128 << 10;

/// Why there is no content.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// The HTTP client cannot be set up.
    #[error("cannot set up HTTP")]
    Client(#[source] reqwest::Error),
    /// The server answered, but not with content.
    #[error("cannot fetch {url}: the server answers {status}")]
    Status { url: String, status: StatusCode },
    /// The page of a login, of a proxy, or of a server that has no 404.
    #[error("cannot fetch {url}: the server answers with a web page instead of the file")]
    WebPage { url: String },
    /// No connection, or it broke, on each attempt.
    #[error("cannot fetch {url}")]
    Request { url: String, source: reqwest::Error },
    /// The connection broke in the middle, on each attempt.
    #[error("cannot read {url}")]
    Body { url: String, source: io::Error },
    /// The connection ended early, on each attempt.
    #[error("{url} ended after {found} of {expected} bytes")]
    Short { url: String, expected: u64, found: u64 },
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
        match self {
            Self::Status { status, .. } => matches!(*status, StatusCode::NOT_FOUND | StatusCode::GONE),
            Self::WebPage { .. } => true,
            _ => false,
        }
    }

    /// The index and what it describes are of different times.
    pub(crate) fn is_out_of_step(&self) -> bool {
        self.is_not_found() || matches!(self, Self::Mismatch { .. } | Self::TooLarge { .. })
    }

    /// Another attempt may succeed.
    fn is_transient(&self) -> bool {
        match self {
            Self::Request { .. } | Self::Body { .. } | Self::Short { .. } => true,
            Self::Status { status, .. } => {
                status.is_server_error()
                    || matches!(*status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
            }
            _ => false,
        }
    }
}

/// The way to the archives. Several threads may use it at once.
pub(crate) struct Fetcher<'a> {
    client: Client,
    cache: &'a Cache,
    network: &'a Network,
    progress: &'a Progress,
}

impl<'a> Fetcher<'a> {
    /// Downloads go to `cache` and are reported to `progress`.
    pub(crate) fn new(
        cache: &'a Cache,
        network: &'a Network,
        progress: &'a Progress,
    ) -> Result<Self, FetchError> {
        Network::prepare_tls();
        let pem = network.ca_certificates.as_deref().unwrap_or_default();
        let certificates = reqwest::Certificate::from_pem_bundle(pem).map_err(FetchError::Client)?;
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(READ_TIMEOUT)
            .tls_certs_merge(certificates)
            .user_agent(concat!("runq-assets/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(FetchError::Client)?;
        Ok(Self { client, cache, network, progress })
    }

    /// Where downloads go.
    pub(crate) fn cache(&self) -> &Cache {
        self.cache
    }

    /// Whether the cache seems to have it.
    pub(crate) fn has(&self, digest: Sha256Digest) -> bool {
        self.cache.has(digest)
    }

    /// Keeps in the cache what was fetched and then verified.
    pub(crate) fn keep(&self, content: &[u8]) -> Result<(), FetchError> {
        self.cache.put(content).map_err(FetchError::Cache)
    }

    /// Content of known size and hash, from the cache or else from the URL.
    pub(crate) fn verified(&self, url: &str, expected: IndexFile) -> Result<Bytes, FetchError> {
        self.cached(url, expected, Cache::get)
    }

    /// The same, to be read once.
    pub(crate) fn verified_chunks(&self, url: &str, expected: IndexFile) -> Result<Chunks, FetchError> {
        self.cached(url, expected, Cache::chunks)
    }

    fn cached<T>(
        &self,
        url: &str,
        expected: IndexFile,
        get: impl Fn(&Cache, Sha256Digest) -> io::Result<Option<T>>,
    ) -> Result<T, FetchError> {
        let get = || get(self.cache, expected.sha256).map_err(FetchError::Cache);
        if let Some(content) = get()? {
            return Ok(content);
        }
        self.prefetch(url, expected)?;
        get()?.ok_or_else(|| FetchError::Cache(io::ErrorKind::NotFound.into()))
    }

    /// Sees to it that the cache has it, without holding it in memory.
    pub(crate) fn prefetch(&self, url: &str, expected: IndexFile) -> Result<(), FetchError> {
        self.online(url)?;
        let mut pauses = PAUSES.iter();
        loop {
            let Some(mut partial) = self.cache.partial(expected.sha256).map_err(FetchError::Cache)? else {
                return Ok(());
            };
            let resumed = partial.len().map_err(FetchError::Cache)? > 0;
            let result = self.complete(url, expected, &mut partial).and_then(|()| {
                let found = partial.finish(expected.size).map_err(FetchError::Cache)?;
                found.map_or(Ok(()), |(found, found_size)| {
                    Err(FetchError::Mismatch { url: url.to_owned(), expected, found_size, found })
                })
            });
            match result {
                // What an earlier attempt left was of another file.
                Err(FetchError::Mismatch { .. } | FetchError::TooLarge { .. }) if resumed => {}
                Err(error) if error.is_transient() => self.pause(error, pauses.next())?,
                result => return result,
            }
        }
    }

    /// Content of at most `allowed` bytes that somebody else has to verify. `size` is for the progress; 0: not known.
    pub(crate) fn unverified(&self, url: &str, size: u64, allowed: u64) -> Result<Bytes, FetchError> {
        self.online(url)?;
        let mut pauses = PAUSES.iter();
        loop {
            match self.attempt(url, size, allowed) {
                Err(error) if error.is_transient() => self.pause(error, pauses.next())?,
                result => return result,
            }
        }
    }

    fn online(&self, url: &str) -> Result<(), FetchError> {
        if self.network.offline {
            return Err(FetchError::Offline { url: url.to_owned() });
        }
        Ok(())
    }

    /// Gives the error back when there was the last attempt.
    fn pause(&self, error: FetchError, pause: Option<&Duration>) -> Result<(), FetchError> {
        let Some(pause) = pause else { return Err(error) };
        self.progress.step(&format!("  {error}: next attempt in {} s", pause.as_secs()));
        std::thread::sleep(*pause);
        Ok(())
    }

    fn attempt(&self, url: &str, size: u64, allowed: u64) -> Result<Bytes, FetchError> {
        let response = self.get(url, 0)?;
        let download = self.progress.download(label(url), size);
        let mut content = Vec::new();
        Counted { download, reader: response.take(allowed + 1) }
            .read_to_end(&mut content)
            .map_err(|source| FetchError::Body { url: url.to_owned(), source })?;
        if content.len() as u64 > allowed {
            return Err(FetchError::TooLarge { url: url.to_owned(), allowed });
        }
        if is_web_page(&content) {
            return Err(FetchError::WebPage { url: url.to_owned() });
        }
        Ok(content.into())
    }

    /// Adds what a download lacks.
    fn complete(&self, url: &str, expected: IndexFile, partial: &mut Partial) -> Result<(), FetchError> {
        let url_owned = || url.to_owned();
        let mut start = partial.len().map_err(FetchError::Cache)?;
        if start == expected.size && start > 0 {
            return Ok(());
        }
        if start > expected.size {
            partial.restart().map_err(FetchError::Cache)?;
            start = 0;
        }
        let mut response = self.get(url, start)?;
        if !continues(&response, start) {
            partial.restart().map_err(FetchError::Cache)?;
            start = 0;
        }
        // A server that says how much it sends and sends it has a smaller file.
        let may_be_short = response.content_length().is_some();
        let mut download = self.progress.download(label(url), expected.size);
        download.advance(start);
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let count =
                response.read(&mut chunk).map_err(|source| FetchError::Body { url: url_owned(), source })?;
            if count == 0 {
                break;
            }
            if start == 0 && is_web_page(&chunk[..count]) {
                return Err(FetchError::WebPage { url: url_owned() });
            }
            start += count as u64;
            if start > expected.size {
                partial.restart().map_err(FetchError::Cache)?;
                return Err(FetchError::TooLarge { url: url_owned(), allowed: expected.size });
            }
            partial.append(&chunk[..count]).map_err(FetchError::Cache)?;
            download.advance(count as u64);
        }
        if start < expected.size && !may_be_short {
            return Err(FetchError::Short { url: url_owned(), expected: expected.size, found: start });
        }
        Ok(())
    }

    fn get(&self, url: &str, start: u64) -> Result<Response, FetchError> {
        let mut request = self.client.get(url);
        // What is named by its hash may come from any proxy's cache, an InRelease file may not.
        if !url.contains("/by-hash/") && !url.contains("/pool/") {
            request = request.header(CACHE_CONTROL, "max-age=0");
        }
        if start > 0 {
            request = request.header(RANGE, format!("bytes={start}-"));
        }
        let host = reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
        if let Some((name, password)) = host.as_deref().and_then(|host| self.network.netrc.login(host)) {
            request = request.basic_auth(name, password);
        }
        let response =
            request.send().map_err(|source| FetchError::Request { url: url.to_owned(), source })?;
        let status = response.status();
        if status == StatusCode::RANGE_NOT_SATISFIABLE && start > 0 {
            return self.get(url, 0);
        }
        if !status.is_success() {
            return Err(FetchError::Status { url: url.to_owned(), status });
        }
        Ok(response)
    }
}

/// Whether an answer begins where it was asked to.
fn continues(response: &Response, start: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    let begins = range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse().ok());
    start > 0 && response.status() == StatusCode::PARTIAL_CONTENT && begins == Some(start)
}

/// Neither a package, nor an index, nor a signed text begins like that.
fn is_web_page(content: &[u8]) -> bool {
    let start = content.trim_ascii_start();
    ["<!doctype html", "<html", "<?xml"]
        .iter()
        .any(|tag| start.get(..tag.len()).is_some_and(|found| found.eq_ignore_ascii_case(tag.as_bytes())))
}

/// What the user sees of a URL: the file, or whose index it is when the file is named by its hash.
fn label(url: &str) -> &str {
    let path = url.split("/by-hash/").next().unwrap_or(url);
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
#[path = "fetch/tests.rs"]
mod tests;
