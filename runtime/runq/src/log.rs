//! Tells the caller what went wrong, as runc does: on standard error and in the file of `--log`, of which containerd shows
//! the last error to the user. Runs on the host; trusts the caller, who names the file.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// runc's `--log` and `--log-format`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Log {
    /// File to append to.
    pub(crate) path: Option<PathBuf>,
    /// One JSON object a line, instead of text.
    pub(crate) is_json: bool,
}

impl Log {
    /// Reports an error. There is nobody left to hear of an error in doing so.
    pub(crate) fn error(&self, message: &str) {
        writeln!(std::io::stderr(), "{message}").ok();
        let Some(path) = &self.path else { return };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let entry = self.entry(message, &rfc3339(now));
        let file = fs_err::OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all(entry.as_bytes())).ok();
    }

    fn entry(&self, message: &str, time: &str) -> String {
        if self.is_json {
            format!("{}\n", serde_json::json!({"level": "error", "msg": message, "time": time}))
        } else {
            format!("time={time:?} level=error msg={message:?}\n")
        }
    }
}

/// Time since the epoch as RFC 3339 writes it, in UTC and whole seconds. The calendar is `civil_from_days` of
/// <https://howardhinnant.github.io/date_algorithms.html>: its years begin in March.
fn rfc3339(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months + 2) / 5 + 1;
    let month = if months < 10 { months + 3 } else { months - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_dates_of_leap_years_and_their_neighbours() {
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (1_798_761_599, "2026-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(Duration::from_secs(seconds)), date);
        }
    }

    #[test]
    fn writes_the_fields_that_containerd_reads() {
        let entry = Log { path: None, is_json: true }.entry("say \"no\"", "T");
        assert_eq!(entry, "{\"level\":\"error\",\"msg\":\"say \\\"no\\\"\",\"time\":\"T\"}\n");
        let entry = Log { path: None, is_json: false }.entry("say \"no\"", "T");
        assert_eq!(entry, "time=\"T\" level=error msg=\"say \\\"no\\\"\"\n");
    }
}
