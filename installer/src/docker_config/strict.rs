//! The gate before any edit: is this JSON as dockerd reads it, without duplicate keys, and is `runtimes` what it should be?
//! Tolerant parsers find a comma or a comment harmless; editing what dockerd will not read, or the first of two
//! `runtimes` where it takes the second, is not.

use super::RuntimeEntry;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::fmt;

/// A `daemon.json` that is not edited.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("not valid JSON")]
    Syntax(#[source] serde_json::Error),
    #[error("holds {found} where an object is expected, at line 1")]
    Root { found: &'static str },
    #[error("\"runtimes\" is not a set of runtimes")]
    Runtimes(#[source] serde_json::Error),
    #[error("the edited text would not mean what was intended")]
    Edit,
    #[error("\"default-runtime\" is {name:?}: without that runtime dockerd would not start")]
    DefaultRuntime { name: String },
}

/// The value of a text, or where it is wrong.
pub(super) fn parse(text: &str) -> Result<Map<String, Value>, ConfigError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Unique.deserialize(&mut deserializer).map_err(ConfigError::Syntax)?;
    deserializer.end().map_err(ConfigError::Syntax)?;
    let Value::Object(root) = value else {
        return Err(ConfigError::Root { found: noun(&value) });
    };
    // The types once more, for the line and column of a wrong one.
    #[derive(Deserialize)]
    struct Shape {
        #[serde(default, rename = "runtimes")]
        _runtimes: Option<HashMap<String, Option<RuntimeShape>>>,
    }
    #[derive(Deserialize)]
    struct RuntimeShape {
        #[serde(default, rename = "path")]
        _path: Option<String>,
        #[serde(default, rename = "runtimeArgs")]
        _args: Option<Vec<String>>,
    }
    serde_json::from_str::<Shape>(text).map_err(ConfigError::Runtimes)?;
    Ok(root)
}

/// The entry of a runtime in a text, which may be empty.
pub(crate) fn runtime_entry(text: &str, name: &str) -> Result<Option<RuntimeEntry>, ConfigError> {
    let text = super::edit::without_mark(text);
    if text.trim().is_empty() {
        return Ok(None);
    }
    let root = parse(text)?;
    let entry = root.get("runtimes").and_then(|runtimes| runtimes.get(name));
    Ok(entry.and_then(|entry| serde_json::from_value(entry.clone()).ok()))
}

/// The default runtime that a text names, which may be empty.
pub(crate) fn default_runtime(text: &str) -> Result<Option<String>, ConfigError> {
    text_member(text, "default-runtime")
}

/// A member of a text, which may be empty, if it is there and a string.
pub(crate) fn text_member(text: &str, name: &str) -> Result<Option<String>, ConfigError> {
    let text = super::edit::without_mark(text);
    if text.trim().is_empty() {
        return Ok(None);
    }
    Ok(parse(text)?.get(name).and_then(Value::as_str).map(str::to_owned))
}

fn noun(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Any JSON value whose objects have no key twice.
struct Unique;

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(Unique)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(key) = items.next_key::<String>()? {
            if values.contains_key(&key) {
                return Err(A::Error::custom(format_args!("key {key:?} is there twice")));
            }
            values.insert(key, items.next_value_seed(Unique)?);
        }
        Ok(Value::Object(values))
    }
}
