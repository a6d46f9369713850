//! What a package depends on, as it is written (deb-control(5)), and which versions meet it.

use super::PackageIndexError;
use crate::version;
use std::cmp::Ordering;
use std::fmt;

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

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.bound {
            Some((operator, version)) => write!(f, "{} ({operator} {version})", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Earlier => "<<",
            Self::EarlierOrEqual => "<=",
            Self::Equal => "=",
            Self::LaterOrEqual => ">=",
            Self::Later => ">>",
        })
    }
}

impl Relation {
    /// A bound is met by a version alone.
    pub(super) fn admits(&self, version: Option<&str>) -> bool {
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

/// `a (>= 1), b | c:any` (deb-control(5); architecture qualifiers mean nothing with one architecture).
pub(super) fn clauses(package: &str, text: &str) -> Result<Vec<Vec<Relation>>, PackageIndexError> {
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
