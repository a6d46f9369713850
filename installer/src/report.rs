//! What a command has to say in the end, for people and as JSON. Pure.

use crate::doctor::{Check, Verdict};
use serde::Serialize;

/// An installed version, of `list` and `gc`.
#[derive(Debug, Serialize)]
pub(crate) struct VersionLine {
    /// Name of its directory.
    pub(crate) id: String,
    /// Architecture and distribution, or why that is not known.
    pub(crate) about: String,
    /// Whether it is active, and else why it stays; empty when there is no reason.
    pub(crate) state: String,
}

/// Result of a command that has done its work.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// One sentence.
    pub(crate) summary: String,
    /// Facts: name and value.
    pub(crate) facts: Vec<(&'static str, String)>,
    /// Installed versions, where they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) versions: Vec<VersionLine>,
    /// What `doctor` has looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) checks: Vec<Check>,
    /// What was changed, or would be; empty when nothing was.
    pub(crate) changes: Vec<String>,
    /// What the user should know and may not expect.
    pub(crate) notes: Vec<String>,
    /// Unified difference of daemon.json, of a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) diff: Option<String>,
    /// What to type next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
    /// Differences that `verify` has found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) differences: Vec<String>,
}

impl Report {
    /// With facts, and nothing done yet.
    pub(crate) fn new(facts: Vec<(&'static str, String)>) -> Self {
        Self { facts, ..Self::default() }
    }

    /// Whether what was looked at is as it should be.
    pub(crate) fn is_ok(&self) -> bool {
        self.differences.is_empty() && self.checks.iter().all(|check| check.verdict != Verdict::Failure)
    }

    /// Of changes that were not made.
    pub(crate) fn of_dry_run(mut self) -> Self {
        let nothing = self.changes.is_empty();
        self.summary =
            if nothing { "nothing to do" } else { "nothing was changed; this would be done" }.into();
        self
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut lines = vec![self.summary.clone()];
        let width = self.facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        lines.extend(self.facts.iter().map(|(name, value)| format!("  {name:width$}  {value}")));
        let versions =
            self.versions.iter().map(|VersionLine { id, about, state }| format!("  {id}  {about}  {state}"));
        lines.extend(versions.map(|line| line.trim_end().to_owned()));
        lines.extend(self.checks.iter().flat_map(check_lines));
        lines.extend(self.changes.iter().map(|change| format!("  * {change}")));
        lines.extend(self.differences.iter().map(|difference| format!("  {difference}")));
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        lines.extend(self.diff.iter().map(|diff| format!("\n{}", diff.trim_end())));
        lines.extend(self.next.iter().map(|next| format!("\nnext: {next}")));
        lines.join("\n")
    }

    /// For programs.
    pub(crate) fn json(&self) -> serde_json::Value {
        let facts: serde_json::Map<_, _> =
            self.facts.iter().map(|(name, value)| (name.replace(' ', "_"), value.clone().into())).collect();
        let mut value = serde_json::json!({ "ok": self.is_ok() });
        if let (Some(object), Ok(serde_json::Value::Object(own))) =
            (value.as_object_mut(), serde_json::to_value(self))
        {
            object.extend(own);
            object.insert("facts".into(), facts.into());
        }
        value
    }
}

fn check_lines(check: &Check) -> Vec<String> {
    let Check { name, verdict, found, means, mend } = check;
    let mut lines = vec![format!("  {verdict:7}  {name:13}  {found}")];
    if *verdict != Verdict::Ok {
        lines.push(format!("{:26}means: {means}", ""));
        lines.push(format!("{:26}mend:  {mend}", ""));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_the_same_in_both_forms() {
        let report = Report {
            summary: "runq is installed".into(),
            facts: vec![("version", "1".into()), ("signed by", "K".into())],
            changes: vec!["activate 1".into()],
            notes: vec!["dockerd is not running".into()],
            next: Some("docker run".into()),
            ..Report::default()
        };
        assert_eq!(
            report.text(),
            "runq is installed\n  version    1\n  signed by  K\n  * activate 1\nnote: dockerd is not running\n\nnext: docker run"
        );
        let json = report.json();
        assert_eq!(json["ok"], true);
        assert_eq!(json["facts"]["signed_by"], "K");
        assert_eq!(json["next"], "docker run");
    }
}
