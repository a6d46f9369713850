//! How new each suite was when it was read last, so that no mirror can go back to packages with known holes. Kept beside
//! the cached downloads, by URL. Runs on the build machine; trusts the directory, which its owner alone can write.

use crate::cache::Cache;
use runq_bundle::digest::sha256;
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;

/// The newest date that was seen of the InRelease at `url`, seconds since the epoch; 0: none.
pub(crate) fn newest(cache: &Cache, url: &str) -> io::Result<u64> {
    match fs_err::read_to_string(path(cache, url)) {
        Ok(text) => text.trim().parse().map_err(|error| io::Error::new(ErrorKind::InvalidData, error)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// Remembers the date of an InRelease that was verified. Whole or not at all, also when builders run side by side.
pub(crate) fn remember(cache: &Cache, url: &str, date: u64) -> io::Result<()> {
    let path = path(cache, url);
    let folder = path.parent().unwrap_or(&path);
    fs_err::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    writeln!(file, "{date}")?;
    file.persist(&path)?;
    Ok(())
}

fn path(cache: &Cache, url: &str) -> PathBuf {
    cache.root().join("suites").join(sha256(url.as_bytes()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_by_url_and_forgives_no_damage() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::open(root.path()).unwrap();
        assert_eq!(newest(&cache, "http://a/InRelease").unwrap(), 0);
        remember(&cache, "http://a/InRelease", 1_795_252_544).unwrap();
        assert_eq!(newest(&cache, "http://a/InRelease").unwrap(), 1_795_252_544);
        assert_eq!(newest(&cache, "http://b/InRelease").unwrap(), 0);
        fs_err::write(path(&cache, "http://a/InRelease"), "damaged").unwrap();
        assert!(newest(&cache, "http://a/InRelease").is_err());
    }
}
