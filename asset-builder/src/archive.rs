//! The way from pinned keys to package records: InRelease (signature, dates) → Packages (size, SHA-256) → records.
//! Runs on the build machine; trusts the fingerprints of the recipe, no server and no mirror.

use crate::fetch::{FetchError, Fetcher};
use crate::openpgp::{OpenPgpError, PinnedKeys};
use crate::package_index::{PackageIndex, PackageIndexError};
use crate::parallel;
use crate::progress::Progress;
use crate::recipe::{Archive, Recipe};
use crate::release_file::{IndexFile, ReleaseError, ReleaseFile};
use crate::seen_suites;
use bytes::Bytes;
use pgp::types::Timestamp;
use runq_bundle::digest::{Sha256Digest, sha256};
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::string::FromUtf8Error;
use std::sync::Arc;

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
    #[error("{archive} has no suite {suite}")]
    NoSuite { suite: String, archive: String, source: Box<FetchError> },
    #[error("suite {suite} of {archive} has no packages for {arch}: there is no {url}")]
    NoArchitecture { url: String, suite: String, arch: String, archive: String },
    #[error("cannot decompress {url}")]
    Decompress { url: String, source: std::io::Error },
    #[error("{url} is not UTF-8")]
    Text { url: String, source: FromUtf8Error },
    #[error("cannot read {url}")]
    Packages { url: String, source: PackageIndexError },
}

/// All packages of all suites, and the links of the chain that lead to them.
pub(crate) struct Snapshot {
    pub(crate) index: PackageIndex,
    pub(crate) suites: Vec<SuiteRecord>,
}

/// A suite as it was read, from the pinned key to the package records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SuiteRecord {
    /// The archive's own URL.
    pub(crate) archive: String,
    pub(crate) suite: String,
    /// Seconds since the epoch.
    pub(crate) date: u64,
    /// When it ceases to be current, where the archive says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) valid_until: Option<u64>,
    /// Digest of InRelease.
    pub(crate) in_release: Sha256Digest,
    /// The pinned primary key whose signature was good.
    pub(crate) signer: String,
    /// One for each component.
    pub(crate) index: Vec<IndexRecord>,
}

/// A Packages file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IndexRecord {
    /// Below the directory of the suite.
    pub(crate) path: String,
    pub(crate) size: u64,
    pub(crate) sha256: Sha256Digest,
}

impl IndexRecord {
    fn expected(&self) -> IndexFile {
        IndexFile { size: self.size, sha256: self.sha256 }
    }
}

/// Reads every suite of the recipe for an architecture (as the archive names it), which must not be older than last time
/// unless that is allowed.
pub(crate) fn snapshot(
    (recipe, deb_arch): (&Recipe, &str),
    allow_older: bool,
    fetcher: &Fetcher<'_>,
    progress: &Progress,
) -> Result<Snapshot, ArchiveError> {
    let mut suites = Vec::new();
    for archive in &recipe.archive {
        let keys = PinnedKeys::select(&archive.key_files(), &archive.fingerprints)
            .map_err(|source| ArchiveError::Keys { url: archive.url.clone(), source })?;
        let keys = Arc::new(keys);
        let suite = |suite| Suite { archive, suite, deb_arch, keys: Arc::clone(&keys), fetcher, allow_older };
        suites.extend(archive.suites.iter().map(|name| suite(name)));
    }
    let records = parallel::map(&suites, suites.len(), |suite| suite.verify(progress));
    let records = records.into_iter().collect::<Result<Vec<SuiteRecord>, ArchiveError>>()?;
    let mut snapshot = Snapshot { index: PackageIndex::default(), suites: records };
    // One after the other: their text is ten times as large as the files.
    for (suite, record) in suites.iter().zip(&snapshot.suites) {
        for index in &record.index {
            let url = suite.url(&index.path);
            let text = packages_text(&url, &suite.packages(&url, index.expected(), false)?)?;
            let added = snapshot.index.add((suite.archive.base(), suite.suite), &text);
            added.map_err(|source| ArchiveError::Packages { url, source })?;
        }
    }
    Ok(snapshot)
}

struct Suite<'a> {
    archive: &'a Archive,
    suite: &'a str,
    deb_arch: &'a str,
    keys: Arc<PinnedKeys>,
    fetcher: &'a Fetcher<'a>,
    allow_older: bool,
}

impl Suite<'_> {
    /// Reads InRelease, and sees to it that the cache has the Packages file of each component.
    fn verify(&self, progress: &Progress) -> Result<SuiteRecord, ArchiveError> {
        progress.step(&format!("verify {} of {}", self.suite, self.archive.base()));
        match self.attempt() {
            // A mirror in the middle of a synchronisation has a new InRelease and old indices, or the reverse.
            Err(ArchiveError::Fetch(error)) if error.is_out_of_step() => {
                progress.step(&format!("  {error}: reading InRelease again"));
                self.attempt().map_err(|error| self.explain(error))
            }
            result => result,
        }
    }

    fn attempt(&self) -> Result<SuiteRecord, ArchiveError> {
        let (release, mut record) = self.release()?;
        for component in &self.archive.components {
            let path = format!("{component}/binary-{}/Packages.xz", self.deb_arch);
            let url = self.url(&path);
            let expected = release.index(&path).map_err(|source| match source {
                ReleaseError::NoIndex { .. } => self.no_architecture(&url),
                source => ArchiveError::Release { url: url.clone(), source },
            })?;
            self.packages(&url, expected, release.by_hash)?;
            record.index.push(IndexRecord { path, size: expected.size, sha256: expected.sha256 });
        }
        Ok(record)
    }

    /// An index that InRelease lists and the host does not have, twice, is not there for this architecture.
    fn explain(&self, error: ArchiveError) -> ArchiveError {
        match error {
            ArchiveError::Fetch(FetchError::Status { url, .. }) => self.no_architecture(&url),
            error => error,
        }
    }

    fn no_architecture(&self, url: &str) -> ArchiveError {
        ArchiveError::NoArchitecture {
            url: url.to_owned(),
            suite: self.suite.to_owned(),
            arch: self.deb_arch.to_owned(),
            archive: self.archive.base().to_owned(),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}/dists/{}/{path}", self.archive.base(), self.suite)
    }

    /// The Release file, and the record of it, which has no index yet. It stays in the cache, so that the chain can be
    /// followed again.
    fn release(&self) -> Result<(ReleaseFile, SuiteRecord), ArchiveError> {
        let url = self.url("InRelease");
        let content = match self.fetcher.unverified(&url, 0, MAX_IN_RELEASE_BYTES) {
            Err(error) if error.is_not_found() => {
                let (suite, archive) = (self.suite.to_owned(), self.archive.base().to_owned());
                return Err(ArchiveError::NoSuite { suite, archive, source: Box::new(error) });
            }
            content => content?,
        };
        let message = text(&url, content.clone().into())?;
        let now = Timestamp::now();
        let signed = self
            .keys
            .verify(&message, now)
            .map_err(|source| ArchiveError::Signature { url: url.clone(), source })?;
        // A snapshot is of the past by design; what it was valid for is recorded all the same.
        let is_snapshot = self.archive.is_snapshot();
        let valid_at = if is_snapshot { 0 } else { now.as_secs().into() };
        let release = ReleaseFile::parse(&signed.text, self.suite, valid_at)
            .map_err(|source| ArchiveError::Release { url: url.clone(), source })?;
        self.check_age(url, release.date)?;
        self.fetcher.keep(&content)?;
        let record = SuiteRecord {
            archive: self.archive.url.clone(),
            suite: self.suite.to_owned(),
            date: release.date,
            valid_until: release.valid_until,
            in_release: sha256(&content),
            signer: signed.signer,
            index: Vec::new(),
        };
        Ok((release, record))
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

    fn packages(&self, url: &str, expected: IndexFile, by_hash: bool) -> Result<Bytes, ArchiveError> {
        let folder = url.trim_end_matches("/Packages.xz");
        let by_hash_url = format!("{folder}/by-hash/SHA256/{}", expected.sha256);
        match by_hash.then(|| self.fetcher.verified(&by_hash_url, expected)) {
            Some(Err(error)) if error.is_not_found() => {}
            Some(result) => return Ok(result?),
            None => {}
        }
        Ok(self.fetcher.verified(url, expected)?)
    }
}

/// The records of a Packages.xz.
pub(crate) fn packages_text(url: &str, content: &Bytes) -> Result<String, ArchiveError> {
    text(url, decompress(url, content)?)
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
