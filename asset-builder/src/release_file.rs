//! The body of a verified InRelease: dates, and size and hash of every index file of a suite.
//! Runs on the build machine; trusts the text, because the caller verified it.

use crate::control;
use runq_bundle::digest::Sha256Digest;
use std::collections::HashMap;

/// What we need of a suite's Release file.
#[derive(Debug)]
pub(crate) struct ReleaseFile {
    /// When the suite was published, seconds since the epoch.
    pub(crate) date: u64,
    /// When it ceases to be current, where the archive says so.
    pub(crate) valid_until: Option<u64>,
    /// Whether index files can be had by their hash.
    pub(crate) by_hash: bool,
    files: HashMap<String, IndexFile>,
}

/// Size in bytes and hash of an index file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexFile {
    pub(crate) size: u64,
    pub(crate) sha256: Sha256Digest,
}

/// Why a Release file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReleaseError {
    /// The text is for another suite: an old one, or one that a mirror moved.
    #[error("it is for {found:?}, expected {expected:?}")]
    Suite { expected: String, found: String },
    /// A field is absent or has another form.
    #[error("field {field} is missing or malformed: {value:?}")]
    Field { field: &'static str, value: String },
    /// A mirror serves a state of the past.
    #[error("it was valid until {until}, which is over")]
    Expired { until: String },
    /// The suite has no such index.
    #[error("it has no {path}")]
    NoIndex { path: String },
}

impl ReleaseFile {
    /// Reads the verified text of a suite (named by suite or by code name) at this time.
    pub(crate) fn parse(text: &str, suite: &str, now: u64) -> Result<Self, ReleaseError> {
        let stanza = control::stanzas(text).next();
        let get = |field: &'static str| stanza.as_ref().and_then(|stanza| stanza.get(field));
        let names = [get("Codename").unwrap_or_default(), get("Suite").unwrap_or_default()];
        if !names.contains(&suite) {
            return Err(ReleaseError::Suite { expected: suite.to_owned(), found: names.join(" or ") });
        }
        let malformed = |field, value: Option<&str>| ReleaseError::Field {
            field,
            value: value.unwrap_or_default().to_owned(),
        };
        let date = get("Date").and_then(parse_date).ok_or_else(|| malformed("Date", get("Date")))?;
        let mut valid_until = None;
        if let Some(until) = get("Valid-Until") {
            let end = parse_date(until).ok_or_else(|| malformed("Valid-Until", Some(until)))?;
            valid_until = Some(end);
            if end <= now {
                return Err(ReleaseError::Expired { until: until.to_owned() });
            }
        }
        let list = get("SHA256").ok_or_else(|| malformed("SHA256", None))?;
        let files = list
            .lines()
            .map(|line| parse_index_line(line).ok_or_else(|| malformed("SHA256", Some(line))))
            .collect::<Result<_, _>>()?;
        Ok(Self { date, valid_until, by_hash: get("Acquire-By-Hash") == Some("yes"), files })
    }

    /// The entry of a path relative to the suite's directory.
    pub(crate) fn index(&self, path: &str) -> Result<IndexFile, ReleaseError> {
        self.files.get(path).copied().ok_or_else(|| ReleaseError::NoIndex { path: path.to_owned() })
    }
}

fn parse_index_line(line: &str) -> Option<(String, IndexFile)> {
    let mut words = line.split_whitespace();
    let (sha256, size, path) = (words.next()?, words.next()?, words.next()?);
    let file = IndexFile { size: size.parse().ok()?, sha256: sha256.parse().ok()? };
    Some((path.to_owned(), file))
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Seconds since the epoch of `Sat, 21 Nov 2026 09:15:44 UTC`, the only form that archives use.
fn parse_date(text: &str) -> Option<u64> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [_weekday, day, month, year, time, "UTC" | "GMT" | "+0000"] = words[..] else { return None };
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let (day, year): (u64, u64) = (day.parse().ok()?, year.parse().ok()?);
    let clock: Vec<u64> = time.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hour, minute, second] = clock[..] else { return None };
    if !(1970..10_000).contains(&year) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60
    {
        return None;
    }
    Some(days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// `2026-11-21T09:15:44Z`.
pub(crate) fn iso_date(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years, then months, that start before the day; there are few enough of both to try them.
    let year = (1970..).take_while(|year| days_since_epoch(*year, 1, 1) <= days).last().unwrap_or(1970);
    let month = (1..=12).take_while(|month| days_since_epoch(year, *month, 1) <= days).last().unwrap_or(1);
    let day = days - days_since_epoch(year, month, 1) + 1;
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Gregorian calendar, with years that start in March so that the leap day is the last one.
fn days_since_epoch(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn body(valid_until: &str) -> String {
        format!(
            "Suite: stable\r\nCodename: trixie\r\nDate: Sat, 21 Nov 2026 09:15:44 UTC\r\n{valid_until}\
             Acquire-By-Hash: yes\r\nSHA256:\r\n {EMPTY}        0 main/binary-amd64/Packages\r\n"
        )
    }

    #[test]
    fn reads_what_a_suite_offers() {
        let release = ReleaseFile::parse(&body(""), "trixie", 0).unwrap();
        assert_eq!(release.date, 1_795_252_544);
        assert!(release.by_hash);
        let index = release.index("main/binary-amd64/Packages").unwrap();
        assert_eq!(index, IndexFile { size: 0, sha256: EMPTY.parse().unwrap() });
        assert!(matches!(release.index("main/binary-s390x/Packages"), Err(ReleaseError::NoIndex { .. })));
    }

    #[test]
    fn refuses_expired_and_foreign_suites() {
        let text = body("Valid-Until: Sat, 28 Nov 2026 09:15:44 UTC\r\n");
        assert!(ReleaseFile::parse(&text, "stable", 1_795_857_343).is_ok());
        assert!(matches!(
            ReleaseFile::parse(&text, "stable", 1_795_857_344),
            Err(ReleaseError::Expired { .. })
        ));
        assert!(matches!(ReleaseFile::parse(&text, "bookworm", 0), Err(ReleaseError::Suite { .. })));
    }

    #[test]
    fn reads_dates_of_both_archives() {
        assert_eq!(iso_date(1_709_251_199), "2024-02-29T23:59:59Z");
        assert_eq!(iso_date(1_795_252_544), "2026-11-21T09:15:44Z");
        assert_eq!(iso_date(0), "1970-01-01T00:00:00Z");
        assert_eq!(parse_date("Thu, 01 Jan 1970 00:00:00 UTC"), Some(0));
        assert_eq!(parse_date("Thu, 29 Feb 2024 23:59:59 GMT"), Some(1_709_251_199));
        assert_eq!(parse_date("Tue, 24 Nov 2026  9:50:53 UTC"), Some(1_795_513_853));
        for text in ["", "yesterday", "Tue, 24 Nov 2026 9:50:53 CET", "Tue, 24 Now 2026 9:50:53 UTC"] {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }
}
