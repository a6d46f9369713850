//! What every build works with: the cache, the base image and the way to the archives. Runs on the build machine.

use crate::base_image::BaseImage;
use crate::cache::Cache;
use crate::cli::SourceArgs;
use crate::fetch::{FetchError, Fetcher};
use crate::network::Network;
use crate::progress::Progress;
use crate::sides::Sides;
use anyhow::Context;
use std::path::PathBuf;

/// Opened before the long work.
pub(crate) struct Workshop {
    pub(crate) cache: Cache,
    pub(crate) base_image: Option<BaseImage>,
    network: Network,
}

impl Workshop {
    /// By the command line; with `offline` there is no network.
    pub(crate) fn open(
        args: &SourceArgs,
        sides: &Sides,
        offline: bool,
        progress: &Progress,
    ) -> anyhow::Result<Self> {
        let cache = open_cache(args.cache.as_ref())?;
        let network = Network::new(&args.network, offline)?;
        let base_image =
            BaseImage::load(&args.base_image, sides.host.deb_arch(), (&network, &cache), progress)
                .with_context(|| format!("cannot use the base image {}", args.base_image))?;
        Ok(Self { cache, base_image, network })
    }

    /// The way to the archives, or to the cache alone.
    pub(crate) fn fetcher<'a>(&'a self, progress: &'a Progress) -> Result<Fetcher<'a>, FetchError> {
        Fetcher::new(&self.cache, &self.network, progress)
    }
}

/// In the directory that the command line names, else in `$XDG_CACHE_HOME/runq`, else in `~/.cache/runq`.
pub(crate) fn open_cache(folder: Option<&PathBuf>) -> anyhow::Result<Cache> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let standard = || Some(set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?.join("runq"));
    let folder = folder.cloned().or_else(standard);
    let folder = folder.context("neither XDG_CACHE_HOME nor HOME is set: name a directory with --cache")?;
    Ok(Cache::open(&folder)?)
}
