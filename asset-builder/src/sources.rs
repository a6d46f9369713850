//! Where the packages of a bundle come from: the signed indices of the archives, or a lock that was made of them.
//! Runs on the build machine; trusts the keys that the recipe pins, or the lock.

use crate::archive::{self, SuiteRecord};
use crate::cli::LockedArgs;
use crate::fetch::{FetchError, Fetcher};
use crate::lock::Lock;
use crate::package_index::{PackageIndex, PackageRecord, Weight};
use crate::parallel;
use crate::progress::Progress;
use crate::sides::{Side, Sides};

/// Packages of both sides, and the suites that vouch for them.
pub(crate) struct Sources {
    host: PackageIndex,
    /// When it is not that of the host.
    guest: Option<PackageIndex>,
    pub(crate) suites: Vec<SuiteRecord>,
    /// Of all that the recipe's programs and firmware depend on.
    pub(crate) depends: Option<Weight>,
}

impl Sources {
    /// By the command line: from a lock, or from the archives.
    pub(crate) fn read(
        sides: &Sides,
        (args, base_image): (&LockedArgs, Option<&str>),
        fetcher: &Fetcher<'_>,
        progress: &Progress,
    ) -> anyhow::Result<Self> {
        if !args.locked {
            return Self::from_archives(sides, fetcher, progress);
        }
        let lock = Lock::load(sides, args.lock.as_deref())?;
        lock.check_base_image(base_image)?;
        let (host, guest) = (lock.packages(&sides.host), lock.packages(&sides.guest));
        // Of one architecture, both are the same.
        let of_guest = guest.iter().filter(|_| sides.is_foreign());
        fetch_all(host.iter().chain(of_guest), fetcher, progress)?;
        let guest = sides.is_foreign().then(|| PackageIndex::of(guest));
        Ok(Self { host: PackageIndex::of(host), guest, suites: lock.suite, depends: lock.depends })
    }

    /// The newest packages of the archives.
    pub(crate) fn from_archives(
        sides: &Sides,
        fetcher: &Fetcher<'_>,
        progress: &Progress,
    ) -> anyhow::Result<Self> {
        let snapshot = |side: &Side| {
            archive::snapshot((&side.recipe, side.deb_arch()), sides.allow_older, fetcher, progress)
        };
        let host = snapshot(&sides.host)?;
        let names = sides.guest.recipe.packages.of_host();
        let depends = Some(Weight::of(host.index.depends_closure(names).into_iter()));
        let mut sources = Self { host: host.index, guest: None, suites: host.suites, depends };
        if sides.is_foreign() {
            let guest = snapshot(&sides.guest)?;
            sources.guest = Some(guest.index);
            sources.suites.extend(guest.suites);
        }
        Ok(sources)
    }

    /// Packages of the host's architecture.
    pub(crate) fn host(&self) -> &PackageIndex {
        &self.host
    }

    /// Packages of the guest's architecture.
    pub(crate) fn guest(&self) -> &PackageIndex {
        self.guest.as_ref().unwrap_or(&self.host)
    }

    /// When the newest suite was published, seconds since the epoch.
    pub(crate) fn date(&self) -> u64 {
        self.suites.iter().map(|suite| suite.date).max().unwrap_or(0)
    }
}

/// Downloads what the cache lacks, several at a time.
fn fetch_all<'a>(
    packages: impl Iterator<Item = &'a PackageRecord>,
    fetcher: &Fetcher<'_>,
    progress: &Progress,
) -> Result<(), FetchError> {
    let missing: Vec<_> = packages.filter(|package| !fetcher.has(package.deb.sha256)).collect();
    progress.announce(missing.len(), missing.iter().map(|package| package.deb.size).sum());
    let fetch = |package: &&PackageRecord| fetcher.prefetch(&package.url, package.deb);
    parallel::map(&missing, parallel::DOWNLOADS, fetch).into_iter().collect()
}
