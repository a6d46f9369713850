//! Measuring: the middle of several runs, and where all figures are kept. On the host; the machine should have nothing else to do.

use crate::workspace;
use anyhow::{Context, Result};
use serde_json::{Map, Value};

/// The middle one.
///
/// # Errors
/// When there is none.
pub(crate) fn median(mut values: Vec<f64>) -> Result<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().context("no runs")
}

/// Puts figures into `bench.json` of the target directory, in place of those that it had under these names.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn record(figures: Map<String, Value>) -> Result<()> {
    let file = workspace::target().join("bench.json");
    let known = fs_err::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let mut all: Map<String, Value> = known.unwrap_or_default();
    all.extend(figures);
    Ok(fs_err::write(&file, format!("{:#}\n", Value::from(all)))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_by_value_and_not_by_order() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]).unwrap(), 2.0);
        assert!(median(Vec::new()).is_err());
    }
}
