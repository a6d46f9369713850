//! A package as a Packages file describes it (deb-control(5)).

use super::relation::clauses;
use super::{PackageIndexError, Relation};
use crate::control::Stanza;
use crate::release_file::IndexFile;

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

impl PackageRecord {
    /// Name and version.
    pub(crate) fn title(&self) -> String {
        format!("{} {}", self.name, self.version)
    }

    /// From a stanza of the Packages file of a suite: the URL of its archive, and its name.
    pub(super) fn read(
        (base_url, suite): (&str, &str),
        stanza: &Stanza<'_>,
    ) -> Result<Self, PackageIndexError> {
        let name = field(stanza, "", "Package")?;
        let version = field(stanza, name, "Version")?;
        let malformed = |field| PackageIndexError::Field { package: name.to_owned(), field };
        let size = field(stanza, name, "Size")?.parse().ok().ok_or_else(|| malformed("Size"))?;
        let sha256 = field(stanza, name, "SHA256")?.parse().ok().ok_or_else(|| malformed("SHA256"))?;
        let mut depends = clauses(name, stanza.get("Pre-Depends").unwrap_or_default())?;
        depends.extend(clauses(name, stanza.get("Depends").unwrap_or_default())?);
        Ok(Self {
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
}

/// `glibc (2.41-12)`; name and version are left out where they are those of the package.
fn source(field: Option<&str>, name: &str, version: &str) -> (String, String) {
    let (source, bound) = field.map_or((name, None), |field| match field.split_once('(') {
        None => (field, None),
        Some((source, bound)) => (source.trim(), Some(bound.trim_end_matches(')').trim())),
    });
    (source.to_owned(), bound.unwrap_or(version).to_owned())
}

/// A field that the package must have.
pub(super) fn field<'a>(
    stanza: &Stanza<'a>,
    package: &str,
    field: &'static str,
) -> Result<&'a str, PackageIndexError> {
    stanza.get(field).ok_or_else(|| PackageIndexError::Field { package: package.to_owned(), field })
}
