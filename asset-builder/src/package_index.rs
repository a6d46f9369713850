//! Package records of verified Packages files, the newest version of each, and how dependencies lead from one to
//! another. Runs on the build machine; trusts the text, because the caller verified it.

use crate::control::{Stanza, stanzas};
use crate::release_file::IndexFile;
use crate::version;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

/// A package as the archive describes it.
#[derive(Debug, Clone)]
pub(crate) struct PackageRecord {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) arch: String,
    /// The suite whose index describes it.
    pub(crate) suite: String,
    /// Name and version of the source package.
    pub(crate) source: (String, String),
    /// Where the .deb is.
    pub(crate) url: String,
    /// Size and hash of the .deb.
    pub(crate) deb: IndexFile,
    /// Clauses of Pre-Depends and Depends; one alternative of each is needed.
    pub(crate) depends: Vec<Vec<Relation>>,
}

/// `name (operator version)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Relation {
    pub(crate) name: String,
    pub(crate) bound: Option<(Operator, String)>,
}

/// How a version has to relate to the one named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Earlier,
    EarlierOrEqual,
    Equal,
    LaterOrEqual,
    Later,
}

/// Why records cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackageIndexError {
    #[error("package {package:?} has no usable {field}")]
    Field { package: String, field: &'static str },
    #[error("package {package:?} has a dependency that cannot be read: {text:?}")]
    Relation { package: String, text: String },
    #[error("no suite has package {name:?}")]
    NoPackage { name: String },
    #[error("package {package:?} needs {clause}, which no suite has")]
    Unmet { package: String, clause: String },
}

/// The newest version of every package.
#[derive(Default)]
pub(crate) struct PackageIndex {
    packages: HashMap<String, PackageRecord>,
    /// Virtual name → (real name, version that is provided); sorted, so that the choice does not depend on the order.
    providers: HashMap<String, BTreeMap<String, Option<String>>>,
}

impl PackageIndex {
    /// An index of these packages alone.
    pub(crate) fn of(packages: impl IntoIterator<Item = PackageRecord>) -> Self {
        let named = packages.into_iter().map(|package| (package.name.clone(), package));
        Self { packages: named.collect(), providers: HashMap::new() }
    }

    /// Adds the records of a Packages file of a suite (named by the URL of its archive, and its name).
    pub(crate) fn add(&mut self, suite: (&str, &str), text: &str) -> Result<(), PackageIndexError> {
        for stanza in stanzas(text) {
            let name = field(&stanza, "", "Package")?;
            let version = field(&stanza, name, "Version")?;
            let known = self.packages.get(name);
            if known.is_some_and(|known| version::compare(&known.version, version).is_ge()) {
                continue;
            }
            self.packages.insert(name.to_owned(), record(suite, &stanza, name, version)?);
            let Some(provides) = stanza.get("Provides") else { continue };
            for relation in clauses(name, provides)?.into_iter().flatten() {
                let provided = relation.bound.map(|(_, version)| version);
                self.providers.entry(relation.name).or_default().insert(name.to_owned(), provided);
            }
        }
        Ok(())
    }

    /// The package of this name.
    pub(crate) fn package(&self, name: &str) -> Result<&PackageRecord, PackageIndexError> {
        self.packages.get(name).ok_or_else(|| PackageIndexError::NoPackage { name: name.to_owned() })
    }

    /// The packages that a package depends on directly: of each clause the first alternative that exists, a real
    /// package before one that provides it.
    pub(crate) fn dependencies(
        &self,
        package: &PackageRecord,
    ) -> Result<Vec<&PackageRecord>, PackageIndexError> {
        let choose = |clause: &Vec<Relation>| {
            let real = clause.iter().find_map(|relation| self.real(relation));
            real.or_else(|| clause.iter().find_map(|relation| self.provider(relation))).ok_or_else(|| {
                let names: Vec<_> = clause.iter().map(|relation| relation.name.as_str()).collect();
                PackageIndexError::Unmet { package: package.name.clone(), clause: names.join(" or ") }
            })
        };
        package.depends.iter().map(choose).collect()
    }

    fn real(&self, relation: &Relation) -> Option<&PackageRecord> {
        self.packages.get(&relation.name).filter(|package| relation.admits(Some(&package.version)))
    }

    fn provider(&self, relation: &Relation) -> Option<&PackageRecord> {
        let (name, _) = self
            .providers
            .get(&relation.name)?
            .iter()
            .find(|(_, version)| relation.admits(version.as_deref()))?;
        self.packages.get(name)
    }
}

impl Relation {
    /// A bound is met by a version alone.
    fn admits(&self, version: Option<&str>) -> bool {
        let Some((operator, bound)) = &self.bound else { return true };
        let Some(version) = version else { return false };
        let order = version::compare(version, bound);
        match operator {
            Operator::Earlier => order == Ordering::Less,
            Operator::EarlierOrEqual => order.is_le(),
            Operator::Equal => order == Ordering::Equal,
            Operator::LaterOrEqual => order.is_ge(),
            Operator::Later => order == Ordering::Greater,
        }
    }
}

fn record(
    (base_url, suite): (&str, &str),
    stanza: &Stanza<'_>,
    name: &str,
    version: &str,
) -> Result<PackageRecord, PackageIndexError> {
    let malformed = |field| PackageIndexError::Field { package: name.to_owned(), field };
    let size = field(stanza, name, "Size")?.parse().ok().ok_or_else(|| malformed("Size"))?;
    let sha256 = field(stanza, name, "SHA256")?.parse().ok().ok_or_else(|| malformed("SHA256"))?;
    let mut depends = clauses(name, stanza.get("Pre-Depends").unwrap_or_default())?;
    depends.extend(clauses(name, stanza.get("Depends").unwrap_or_default())?);
    Ok(PackageRecord {
        name: name.to_owned(),
        version: version.to_owned(),
        arch: field(stanza, name, "Architecture")?.to_owned(),
        suite: suite.to_owned(),
        source: source(stanza.get("Source"), name, version),
        url: format!("{base_url}/{}", field(stanza, name, "Filename")?),
        deb: IndexFile { size, sha256 },
        depends,
    })
}

/// `glibc (2.41-12)`; name and version are left out where they are those of the package.
fn source(field: Option<&str>, name: &str, version: &str) -> (String, String) {
    let (source, bound) = field.map_or((name, None), |field| match field.split_once('(') {
        None => (field, None),
        Some((source, bound)) => (source.trim(), Some(bound.trim_end_matches(')').trim())),
    });
    (source.to_owned(), bound.unwrap_or(version).to_owned())
}

fn field<'a>(stanza: &Stanza<'a>, package: &str, field: &'static str) -> Result<&'a str, PackageIndexError> {
    stanza.get(field).ok_or_else(|| PackageIndexError::Field { package: package.to_owned(), field })
}

/// `a (>= 1), b | c:any` (deb-control(5); architecture qualifiers mean nothing with one architecture).
fn clauses(package: &str, text: &str) -> Result<Vec<Vec<Relation>>, PackageIndexError> {
    let alternatives = |clause: &str| {
        let relations = clause.split('|').map(|text| {
            relation(text).ok_or_else(|| PackageIndexError::Relation {
                package: package.to_owned(),
                text: text.to_owned(),
            })
        });
        relations.collect()
    };
    text.split(',').filter(|clause| !clause.trim().is_empty()).map(alternatives).collect()
}

fn relation(text: &str) -> Option<Relation> {
    let (name, bound) = match text.split_once('(') {
        None => (text, None),
        Some((name, bound)) => (name, Some(bound.trim().strip_suffix(')')?.trim())),
    };
    let name = name.split(':').next()?.trim();
    let bound = bound.map(|bound| {
        let end = bound.find(|letter| !matches!(letter, '<' | '=' | '>'))?;
        let operator = match &bound[..end] {
            "<<" => Operator::Earlier,
            "<=" => Operator::EarlierOrEqual,
            "=" => Operator::Equal,
            ">=" => Operator::LaterOrEqual,
            ">>" => Operator::Later,
            _ => return None,
        };
        Some((operator, bound[end..].trim().to_owned()))
    });
    let malformed = name.is_empty() || matches!(bound, Some(None));
    (!malformed).then(|| Relation { name: name.to_owned(), bound: bound.flatten() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use runq_bundle::digest::sha256;

    fn stanza(name: &str, version: &str, more: &str) -> String {
        let digest = sha256(name.as_bytes());
        format!(
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\nFilename: pool/{name}_{version}.deb\n\
             Size: 7\nSHA256: {digest}\n{more}\n\n"
        )
    }

    fn names(packages: &[&PackageRecord]) -> Vec<String> {
        packages.iter().map(|package| package.name.clone()).collect()
    }

    #[test]
    fn takes_the_newest_version_of_all_suites() {
        let mut index = PackageIndex::default();
        index.add(("http://a", "trixie"), &stanza("qemu", "1:8.2", "")).unwrap();
        index.add(("http://b", "trixie"), &stanza("qemu", "1:8.2+deb13u1", "")).unwrap();
        index.add(("http://c", "trixie"), &stanza("qemu", "9.0", "")).unwrap();
        let package = index.package("qemu").unwrap();
        assert_eq!(package.url, "http://b/pool/qemu_1:8.2+deb13u1.deb");
        assert_eq!(package.source, ("qemu".to_owned(), "1:8.2+deb13u1".to_owned()));
        assert!(matches!(index.package("kvm"), Err(PackageIndexError::NoPackage { .. })));
    }

    #[test]
    fn chooses_alternatives_in_order_and_real_packages_before_provided_ones() {
        let mut index = PackageIndex::default();
        let depends =
            "Pre-Depends: libc6:any (>= 2.38)\nDepends: gone | mail, old (>> 3) | libz1 (= 1), api (>= 2)";
        let text = [
            stanza("qemu", "1", depends),
            stanza("libc6", "2.41-1", "Source: glibc (2.41)"),
            stanza("amail", "1", "Provides: mail, api (= 1)"),
            stanza("bmail", "1", "Provides: mail, api (= 2)"),
            stanza("old", "3", ""),
            stanza("libz1", "1", ""),
        ];
        index.add(("http://a", "trixie"), &text.concat()).unwrap();
        let dependencies = index.dependencies(index.package("qemu").unwrap()).unwrap();
        assert_eq!(names(&dependencies), ["libc6", "amail", "libz1", "bmail"]);
        assert_eq!(dependencies[0].source, ("glibc".to_owned(), "2.41".to_owned()));
    }

    #[test]
    fn reports_what_is_not_in_the_archive() {
        let mut index = PackageIndex::default();
        index.add(("http://a", "trixie"), &stanza("qemu", "1", "Depends: x (>= 2) | y")).unwrap();
        let error = index.dependencies(index.package("qemu").unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "package \"qemu\" needs x or y, which no suite has");
        assert!(index.add(("http://a", "trixie"), &stanza("q", "1", "Depends: x (~ 2)")).is_err());
    }
}
