//! What became of packages between two lists of them: locks, or bundles. Runs on the build machine. Pure.

use crate::version;
use runq_bundle::digest::Sha256Digest;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// A package of a list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listed<'a> {
    pub(crate) name: &'a str,
    /// Its own architecture, or in a lock that of its index.
    pub(crate) arch: &'a str,
    pub(crate) version: &'a str,
    /// Of the .deb.
    pub(crate) sha256: Sha256Digest,
}

/// A difference between two lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    pub(crate) package: String,
    pub(crate) arch: String,
    pub(crate) old: Option<String>,
    pub(crate) new: Option<String>,
    /// The version is smaller than before, or the same with other content.
    pub(crate) warning: Option<&'static str>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let package = format!("{}:{}", self.package, self.arch);
        match (&self.old, &self.new) {
            (None, Some(new)) => write!(f, "+ {package} {new}"),
            (Some(old), None) => write!(f, "- {package} {old}"),
            (old, new) => {
                let version = |version: &Option<String>| version.clone().unwrap_or_default();
                write!(f, "~ {package} {} -> {}", version(old), version(new))
            }
        }?;
        self.warning.map_or(Ok(()), |warning| write!(f, "  WARNING: {warning}"))
    }
}

/// By architecture and name.
pub(crate) fn changes<'a>(
    old: impl Iterator<Item = Listed<'a>>,
    new: impl Iterator<Item = Listed<'a>>,
) -> Vec<Change> {
    let mut pairs: BTreeMap<_, (Option<Listed<'_>>, Option<Listed<'_>>)> = BTreeMap::new();
    for package in old {
        pairs.entry((package.arch, package.name)).or_default().0 = Some(package);
    }
    for package in new {
        pairs.entry((package.arch, package.name)).or_default().1 = Some(package);
    }
    pairs.into_iter().filter_map(|(key, (old, new))| change(key, old, new)).collect()
}

fn change((arch, name): (&str, &str), old: Option<Listed<'_>>, new: Option<Listed<'_>>) -> Option<Change> {
    let warning = match (old, new) {
        (Some(old), Some(new)) if old.sha256 == new.sha256 && old.version == new.version => return None,
        (Some(old), Some(new)) if old.version == new.version => Some("same version, other content"),
        (Some(old), Some(new)) if version::compare(old.version, new.version).is_gt() => Some("downgrade"),
        _ => None,
    };
    let version = |package: Listed<'_>| package.version.to_owned();
    let (package, arch) = (name.to_owned(), arch.to_owned());
    Some(Change { package, arch, old: old.map(version), new: new.map(version), warning })
}

#[cfg(test)]
mod tests {
    use super::*;
    use runq_bundle::digest::sha256;

    #[test]
    fn warns_of_downgrades_and_of_other_content_under_a_known_version() {
        let list = |packages: &[(&'static str, &'static str, &str)]| -> Vec<Listed<'static>> {
            let listed = packages.iter().map(|(name, version, content)| Listed {
                name,
                arch: "amd64",
                version,
                sha256: sha256(content.as_bytes()),
            });
            listed.collect()
        };
        let old = list(&[
            ("down", "1:2.0", "1"),
            ("gone", "1", "1"),
            ("other", "1", "1"),
            ("same", "1", "1"),
            ("up", "1~rc1", "1"),
        ]);
        let new = list(&[
            ("down", "3.0", "2"),
            ("new", "1", "1"),
            ("other", "1", "2"),
            ("same", "1", "1"),
            ("up", "1", "2"),
        ]);
        let changes = changes(old.into_iter(), new.into_iter());
        let lines: Vec<_> = changes.iter().map(Change::to_string).collect();
        assert_eq!(
            lines,
            [
                "~ down:amd64 1:2.0 -> 3.0  WARNING: downgrade",
                "- gone:amd64 1",
                "+ new:amd64 1",
                "~ other:amd64 1 -> 1  WARNING: same version, other content",
                "~ up:amd64 1~rc1 -> 1",
            ]
        );
    }
}
