//! The admin's `config.toml` as pairs of flag and text. Pure; trusts nothing but the file's syntax, the values are checked
//! where all values are.

use super::table;
use toml::{Table, Value};

/// A file that cannot be understood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// The error has line and column.
    #[error("not valid TOML: {0}")]
    Syntax(#[from] toml::de::Error),
    /// A key that is no setting.
    #[error("{key} is no setting: expected one of {}", known())]
    Unknown {
        /// As it stands in the file.
        key: String,
    },
    /// A value of a type that no setting has.
    #[error("{key}: expected a text, a number, true, false or a list of texts, found {found}")]
    Type {
        /// As it stands in the file.
        key: String,
        /// TOML's name of the type.
        found: &'static str,
    },
}

/// The settings in the text. A list gives a pair for each of its items when the flag can be repeated, else one pair.
pub(crate) fn parse(text: &str) -> Result<Vec<(String, String)>, FileError> {
    let mut pairs = Vec::new();
    for (key, value) in text.parse::<Table>()? {
        let Some(row) = table::find(&key) else { return Err(FileError::Unknown { key }) };
        let values = match &value {
            Value::Array(items) if row.repeats => texts(&key, items)?,
            Value::Array(items) => vec![texts(&key, items)?.join(",")],
            single => texts(&key, std::slice::from_ref(single))?,
        };
        pairs.extend(values.into_iter().map(|value| (key.clone(), value)));
    }
    Ok(pairs)
}

fn texts(key: &str, values: &[Value]) -> Result<Vec<String>, FileError> {
    let text = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(on) => Ok(on.to_string()),
        other => Err(FileError::Type { key: key.to_owned(), found: other.type_str() }),
    };
    values.iter().map(text).collect()
}

fn known() -> String {
    table::all().map(|row| row.flag).collect::<Vec<_>>().join(", ")
}
