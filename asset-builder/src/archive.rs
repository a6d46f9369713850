//! The way from pinned keys to package records: InRelease (signature, dates) → Packages (size, SHA-256) → records.
//! Runs on the build machine; trusts the fingerprints of the recipe, no server and no mirror.

use crate::fetch::{FetchError, Fetcher};
use crate::openpgp::{OpenPgpError, PinnedKeys};
use crate::package_index::{PackageIndex, PackageIndexError};
use crate::progress::Progress;
use crate::recipe::{Archive, Recipe};
use crate::release_file::{ReleaseError, ReleaseFile};
use crate::seen_suites;
use bytes::Bytes;
use pgp::types::Timestamp;
use std::io::Read;
use std::string::FromUtf8Error;

const MAX_IN_RELEASE_BYTES: u64 = 16 << 20;
const MAX_PACKAGES_BYTES: u64 = 1 << 30;

/// Why an archive cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("cannot select the keys of {url}")]
    Keys { url: String, source: OpenPgpError },
    #[error("cannot verify {url}")]
    Signature { url: String, source: OpenPgpError },
    #[error("cannot use {url}")]
    Release { url: String, source: ReleaseError },
    #[error(
        "{url} is older than when it was read last: it is of {date} and was of {seen}, seconds since the epoch"
    )]
    Older { url: String, date: u64, seen: u64 },
    #[error("cannot remember the date of {url}")]
    Remember { url: String, source: std::io::Error },
    #[error("cannot decompress {url}")]
    Decompress { url: String, source: std::io::Error },
    #[error("{url} is not UTF-8")]
    Text { url: String, source: FromUtf8Error },
    #[error("cannot read {url}")]
    Packages { url: String, source: PackageIndexError },
}

/// All packages of all suites, and when the newest suite was published (seconds since the epoch).
pub(crate) struct Snapshot {
    pub(crate) index: PackageIndex,
    pub(crate) date: u64,
}

/// Reads every suite of the recipe for an architecture (as the archive names it), which must not be older than last time
/// unless that is allowed.
pub(crate) fn snapshot(
    (recipe, deb_arch): (&Recipe, &str),
    allow_older: bool,
    fetcher: &Fetcher<'_>,
    progress: &Progress,
) -> Result<Snapshot, ArchiveError> {
    let mut snapshot = Snapshot { index: PackageIndex::default(), date: 0 };
    for archive in &recipe.archive {
        let keys = PinnedKeys::select(&archive.key_files(), &archive.fingerprints)
            .map_err(|source| ArchiveError::Keys { url: archive.url.clone(), source })?;
        for suite in &archive.suites {
            progress.step(&format!("verify {suite} of {}", archive.url));
            let suite = Suite { archive, suite, deb_arch, keys: &keys, fetcher, allow_older };
            // A mirror in the middle of a synchronisation has a new InRelease and old indices, or the reverse.
            let (date, indices) = match suite.read() {
                Err(ArchiveError::Fetch(error)) if error.is_out_of_step() => suite.read()?,
                result => result?,
            };
            snapshot.date = snapshot.date.max(date);
            for (url, text) in indices {
                let added = snapshot.index.add(&archive.url, &text);
                added.map_err(|source| ArchiveError::Packages { url, source })?;
            }
        }
    }
    Ok(snapshot)
}

struct Suite<'a> {
    archive: &'a Archive,
    suite: &'a str,
    deb_arch: &'a str,
    keys: &'a PinnedKeys,
    fetcher: &'a Fetcher<'a>,
    allow_older: bool,
}

impl Suite<'_> {
    /// Date of the suite, and URL and text of the Packages file of each component.
    fn read(&self) -> Result<(u64, Vec<(String, String)>), ArchiveError> {
        let release = self.release()?;
        let indices = self.archive.components.iter().map(|component| self.packages(&release, component));
        Ok((release.date, indices.collect::<Result<_, _>>()?))
    }

    fn release(&self) -> Result<ReleaseFile, ArchiveError> {
        let url = format!("{}/dists/{}/InRelease", self.archive.url, self.suite);
        let content = self.fetcher.unverified(&url, 0, MAX_IN_RELEASE_BYTES)?;
        let message = text(&url, content.into())?;
        let now = Timestamp::now();
        let body = self
            .keys
            .verify(&message, now)
            .map_err(|source| ArchiveError::Signature { url: url.clone(), source })?;
        let release = ReleaseFile::parse(&body, self.suite, now.as_secs().into());
        let release = release.map_err(|source| ArchiveError::Release { url: url.clone(), source })?;
        self.check_age(url, release.date)?;
        Ok(release)
    }

    /// A date is remembered as soon as its signature is good: what follows from it can be fetched again.
    fn check_age(&self, url: String, date: u64) -> Result<(), ArchiveError> {
        let cache = self.fetcher.cache();
        let remember = |source| ArchiveError::Remember { url: url.clone(), source };
        let seen = seen_suites::newest(cache, &url).map_err(remember)?;
        if date < seen && !self.allow_older {
            return Err(ArchiveError::Older { url, date, seen });
        }
        if date != seen {
            seen_suites::remember(cache, &url, date).map_err(remember)?;
        }
        Ok(())
    }

    fn packages(&self, release: &ReleaseFile, component: &str) -> Result<(String, String), ArchiveError> {
        let folder = format!("{component}/binary-{}", self.deb_arch);
        let url = format!("{}/dists/{}/{folder}/Packages.xz", self.archive.url, self.suite);
        let expected = release
            .index(&format!("{folder}/Packages.xz"))
            .map_err(|source| ArchiveError::Release { url: url.clone(), source })?;
        let by_hash =
            format!("{}/dists/{}/{folder}/by-hash/SHA256/{}", self.archive.url, self.suite, expected.sha256);
        let content = match release.by_hash.then(|| self.fetcher.verified(&by_hash, expected)) {
            Some(Err(error)) if error.is_not_found() => self.fetcher.verified(&url, expected)?,
            Some(result) => result?,
            None => self.fetcher.verified(&url, expected)?,
        };
        let text = text(&url, decompress(&url, &content)?)?;
        Ok((url, text))
    }
}

fn decompress(url: &str, content: &Bytes) -> Result<Vec<u8>, ArchiveError> {
    let mut text = Vec::new();
    liblzma::read::XzDecoder::new_multi_decoder(&content[..])
        .take(MAX_PACKAGES_BYTES)
        .read_to_end(&mut text)
        .map_err(|source| ArchiveError::Decompress { url: url.to_owned(), source })?;
    Ok(text)
}

fn text(url: &str, content: Vec<u8>) -> Result<String, ArchiveError> {
    String::from_utf8(content).map_err(|source| ArchiveError::Text { url: url.to_owned(), source })
}
