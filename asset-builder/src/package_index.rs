//! The packages of verified Packages files, the newest version of each, and how dependencies lead from one to another.
//! Runs on the build machine; trusts the text, because the caller verified it.

mod record;
mod relation;

pub(crate) use record::PackageRecord;
pub(crate) use relation::Relation;

use crate::control::stanzas;
use crate::version;
use record::field;
use relation::clauses;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

/// Why records cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackageIndexError {
    #[error("package {package:?} has no usable {field}")]
    Field { package: String, field: &'static str },
    #[error("package {package:?} has a dependency that cannot be read: {text:?}")]
    Relation { package: String, text: String },
    #[error("no suite has package {name:?}")]
    NoPackage { name: String },
    #[error("{} needs {}, and nothing meets that: {}", chain[0], chain[1..].join(", which needs "), rejected.join("; "))]
    Unmet {
        /// From what the recipe names to what is needed.
        chain: Vec<String>,
        /// What comes near, and why it does not do.
        rejected: Vec<String>,
    },
}

impl PackageIndexError {
    /// With those that asked for the package, the first of them first.
    pub(crate) fn asked_by(self, mut askers: Vec<String>) -> Self {
        match self {
            Self::Unmet { chain, rejected } => {
                askers.extend(chain);
                Self::Unmet { chain: askers, rejected }
            }
            error => error,
        }
    }
}

/// What packages weigh.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Weight {
    pub(crate) packages: usize,
    /// Of the .debs.
    pub(crate) bytes: u64,
}

impl Weight {
    /// Of all these.
    pub(crate) fn of<'a>(packages: impl Iterator<Item = &'a PackageRecord>) -> Self {
        packages.fold(Self::default(), |sum, package| Self {
            packages: sum.packages + 1,
            bytes: sum.bytes + package.deb.size,
        })
    }
}

/// The newest version of every package.
#[derive(Default)]
pub(crate) struct PackageIndex {
    /// URL of the archive and name.
    suites: Vec<(String, String)>,
    packages: HashMap<String, Entry>,
    /// Virtual name → (real name, version that is provided); sorted, so that the choice does not depend on the order.
    providers: HashMap<String, BTreeMap<String, Option<String>>>,
}

/// A package of which hardly any is ever asked for: archives have a hundred thousand, and a record takes ten times the
/// memory of the text that it is made of.
struct Entry {
    suite: usize,
    /// The fields that a record is made of.
    stanza: Box<str>,
    record: OnceLock<Box<PackageRecord>>,
}

/// Those fields.
const FIELDS: [&str; 9] =
    ["Package", "Version", "Architecture", "Source", "Filename", "Size", "SHA256", "Pre-Depends", "Depends"];

impl PackageIndex {
    /// An index of these packages alone.
    pub(crate) fn of(packages: impl IntoIterator<Item = PackageRecord>) -> Self {
        let entry = |package: PackageRecord| {
            let name = package.name.clone();
            (name, Entry { suite: 0, stanza: "".into(), record: OnceLock::from(Box::new(package)) })
        };
        Self { packages: packages.into_iter().map(entry).collect(), ..Self::default() }
    }

    /// Adds the records of a Packages file of a suite (named by the URL of its archive, and its name).
    pub(crate) fn add(&mut self, suite: (&str, &str), text: &str) -> Result<(), PackageIndexError> {
        let suite_names = (suite.0.to_owned(), suite.1.to_owned());
        self.suites.push(suite_names);
        for stanza in stanzas(text) {
            let name = field(&stanza, "", "Package")?;
            let version = field(&stanza, name, "Version")?;
            let known = self.packages.get(name).and_then(Entry::version);
            if known.is_some_and(|known| version::compare(known, version).is_ge()) {
                continue;
            }
            PackageRecord::read(suite, &stanza)?;
            let fields = FIELDS.iter().filter_map(|name| Some(format!("{name}: {}\n", stanza.get(name)?)));
            let stanza_of_record = fields.collect::<String>().into_boxed_str();
            let entry =
                Entry { suite: self.suites.len() - 1, stanza: stanza_of_record, record: OnceLock::new() };
            self.packages.insert(name.to_owned(), entry);
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
        self.get(name).ok_or_else(|| PackageIndexError::NoPackage { name: name.to_owned() })
    }

    fn get(&self, name: &str) -> Option<&PackageRecord> {
        let entry = self.packages.get(name)?;
        if let Some(record) = entry.record.get() {
            return Some(record);
        }
        // It could be read when it was added.
        let (base_url, suite) = self.suites.get(entry.suite)?;
        let record = PackageRecord::read((base_url, suite), &stanzas(&entry.stanza).next()?).ok()?;
        Some(entry.record.get_or_init(|| Box::new(record)))
    }

    /// The packages that a package depends on directly: of each clause the first alternative that exists, a real
    /// package before one that provides it.
    pub(crate) fn dependencies(
        &self,
        package: &PackageRecord,
    ) -> Result<Vec<&PackageRecord>, PackageIndexError> {
        let choose =
            |clause: &'_ Vec<Relation>| self.choose(clause).ok_or_else(|| self.unmet(package, clause));
        package.depends.iter().map(choose).collect()
    }

    /// All that these packages depend on, however far, themselves included: what apt would install. Clauses that cannot be
    /// met lead to nothing.
    pub(crate) fn depends_closure<'a>(
        &'a self,
        names: impl Iterator<Item = &'a str>,
    ) -> Vec<&'a PackageRecord> {
        let mut queue: Vec<_> = names.filter_map(|name| self.get(name)).collect();
        let mut found = BTreeMap::new();
        while let Some(package) = queue.pop() {
            if found.insert(&package.name, package).is_none() {
                queue.extend(package.depends.iter().filter_map(|clause| self.choose(clause)));
            }
        }
        found.into_values().collect()
    }

    fn choose(&self, clause: &[Relation]) -> Option<&PackageRecord> {
        let real = clause.iter().find_map(|relation| self.real(relation));
        real.or_else(|| clause.iter().find_map(|relation| self.provider(relation)))
    }

    /// Explains itself.
    fn unmet(&self, package: &PackageRecord, clause: &[Relation]) -> PackageIndexError {
        let mut rejected = Vec::new();
        for Relation { name, bound } in clause {
            let fits_not = |version: Option<&str>| match (version, bound) {
                (Some(version), Some((operator, bound))) => format!("{version} is not {operator} {bound}"),
                _ => "it says no version".to_owned(),
            };
            let real = self.get(name).into_iter();
            let real = real.map(|found| {
                format!("{name} of {} is rejected, as {}", found.suite, fits_not(Some(&found.version)))
            });
            let providers = self.providers.get(name).into_iter().flatten();
            let providers = providers.map(|(provider, version)| {
                format!("{provider}, which provides {name}, is rejected, as {}", fits_not(version.as_deref()))
            });
            let known = rejected.len();
            rejected.extend(real.chain(providers));
            if rejected.len() == known {
                rejected.push(format!("no suite has {name}"));
            }
        }
        let clause: Vec<_> = clause.iter().map(Relation::to_string).collect();
        PackageIndexError::Unmet { chain: vec![package.title(), clause.join(" | ")], rejected }
    }

    fn real(&self, relation: &Relation) -> Option<&PackageRecord> {
        self.get(&relation.name).filter(|package| relation.admits(Some(&package.version)))
    }

    fn provider(&self, relation: &Relation) -> Option<&PackageRecord> {
        let (name, _) = self
            .providers
            .get(&relation.name)?
            .iter()
            .find(|(_, version)| relation.admits(version.as_deref()))?;
        self.get(name)
    }
}

impl Entry {
    fn version(&self) -> Option<&str> {
        match self.record.get() {
            Some(record) => Some(&record.version),
            None => self.stanza.lines().find_map(|line| line.strip_prefix("Version: ")),
        }
    }
}

#[cfg(test)]
#[path = "package_index/tests.rs"]
mod tests;
