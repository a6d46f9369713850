//! Edits the text of `daemon.json` by inserting, replacing and cutting single spans; every other byte stays. Pure.
//!
//! The positions come from jsonc-parser's syntax tree, the style (line ends, indentation, one line or many) from what
//! stands beside the new text. Its own editing API is not used: it breaks one-line objects into many. The result is
//! parsed again and has to mean the old configuration with our entry changed, and nothing else.

use super::RuntimeEntry;
use super::strict::{ConfigError, parse};
use jsonc_parser::ast::{Object, ObjectProp, Value as Node};
use jsonc_parser::common::Ranged;
use serde_json::{Map, Value, json};
use std::ops::Range;

const BYTE_ORDER_MARK: &str = "\u{feff}";
const RUNTIMES: &str = "runtimes";
const DEFAULT_RUNTIME: &str = "default-runtime";
const DEFAULT_INDENT: &str = "    ";

/// The text with the runtime set to the entry. A text that is empty, or nothing but white space, becomes a whole file.
pub(crate) fn set_runtime(text: &str, name: &str, entry: &RuntimeEntry) -> Result<String, ConfigError> {
    let body = without_mark(text);
    let mark = &text[..text.len() - body.len()];
    if body.trim().is_empty() {
        let style = Style { newline: "\n", indent: DEFAULT_INDENT, one_line: false };
        let runtimes = style.render(&json!({ name: entry }), 1);
        return Ok(format!("{mark}{{\n{DEFAULT_INDENT}\"{RUNTIMES}\": {runtimes}\n}}\n"));
    }
    let wanted = with_runtime(parse(body)?, name, entry);
    let edited = edited(body, |document| {
        let Some(runtimes) = document.root.get(RUNTIMES) else {
            return document.insertion(&document.root, RUNTIMES, &json!({ name: entry }));
        };
        let Node::Object(set) = &runtimes.value else {
            return document.replacement(runtimes, &json!({ name: entry }));
        };
        let Some(runtime) = set.get(name) else {
            return document.insertion(set, name, &json!(entry));
        };
        let Node::Object(properties) = &runtime.value else {
            return document.replacement(runtime, &json!(entry));
        };
        let wanted =
            [("path", Some(json!(entry.path))), ("runtimeArgs", entry.args.as_ref().map(|args| json!(args)))];
        document.first_difference(properties, wanted)
    })?;
    confirmed(edited, &wanted).map(|edited| format!("{mark}{edited}"))
}

/// The text without the runtime; `runtimes` stays, empty perhaps: dockerd forgets runtimes on reload only if it is there.
/// A text without the runtime is returned as it is.
pub(crate) fn remove_runtime(text: &str, name: &str) -> Result<String, ConfigError> {
    let body = without_mark(text);
    let mark = &text[..text.len() - body.len()];
    if body.trim().is_empty() {
        return Ok(text.to_owned());
    }
    let mut wanted = parse(body)?;
    if wanted.get(DEFAULT_RUNTIME).and_then(Value::as_str) == Some(name) {
        return Err(ConfigError::DefaultRuntime { name: name.to_owned() });
    }
    if let Some(runtimes) = wanted.get_mut(RUNTIMES).and_then(Value::as_object_mut) {
        runtimes.shift_remove(name);
    }
    let edited = edited(body, |document| {
        let runtimes = document.root.get(RUNTIMES)?;
        let Node::Object(set) = &runtimes.value else { return None };
        Some((removal(set, name)?, String::new()))
    })?;
    confirmed(edited, &wanted).map(|edited| format!("{mark}{edited}"))
}

/// The text with this default runtime, or with none; every other byte stays.
pub(crate) fn set_default_runtime(text: &str, name: Option<&str>) -> Result<String, ConfigError> {
    let body = without_mark(text);
    let mark = &text[..text.len() - body.len()];
    let mut wanted = parse(body)?;
    match name {
        Some(name) => drop(wanted.insert(DEFAULT_RUNTIME.to_owned(), json!(name))),
        None => drop(wanted.shift_remove(DEFAULT_RUNTIME)),
    }
    let edited = edited(body, |document| match (name, document.root.get(DEFAULT_RUNTIME)) {
        (None, None) => None,
        (None, Some(_)) => Some((removal(&document.root, DEFAULT_RUNTIME)?, String::new())),
        (Some(name), None) => document.insertion(&document.root, DEFAULT_RUNTIME, &json!(name)),
        (Some(name), Some(property)) => {
            let range = property.value.range();
            let found: Option<Value> = serde_json::from_str(&document.text[range.start..range.end]).ok();
            if found == Some(json!(name)) { None } else { document.replacement(property, &json!(name)) }
        }
    })?;
    confirmed(edited, &wanted).map(|edited| format!("{mark}{edited}"))
}

pub(super) fn without_mark(text: &str) -> &str {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

/// The configuration with the runtime set; what is in the way of an object makes way for it.
fn with_runtime(mut root: Map<String, Value>, name: &str, entry: &RuntimeEntry) -> Map<String, Value> {
    let object = |parent: &Map<String, Value>, key| parent.get(key).and_then(Value::as_object).cloned();
    let mut runtimes = object(&root, RUNTIMES).unwrap_or_default();
    let mut runtime = object(&runtimes, name).unwrap_or_default();
    runtime.insert("path".to_owned(), json!(entry.path));
    if let Some(args) = &entry.args {
        runtime.insert("runtimeArgs".to_owned(), json!(args));
    }
    runtimes.insert(name.to_owned(), runtime.into());
    root.insert(RUNTIMES.to_owned(), runtimes.into());
    root
}

/// Applies one edit after the other until there is none left to make.
fn edited(
    text: &str,
    mut next: impl FnMut(&Document<'_>) -> Option<(Range<usize>, String)>,
) -> Result<String, ConfigError> {
    let mut text = text.to_owned();
    // An entry has two properties: more rounds would mean that an edit does not have its effect.
    for _ in 0..4 {
        let Some((span, replacement)) = next(&Document::parse(&text)?) else { return Ok(text) };
        text.replace_range(span, &replacement);
    }
    Err(ConfigError::Edit)
}

fn confirmed(text: String, wanted: &Map<String, Value>) -> Result<String, ConfigError> {
    if parse(&text).ok().as_ref() == Some(wanted) { Ok(text) } else { Err(ConfigError::Edit) }
}

struct Document<'a> {
    text: &'a str,
    root: Object<'a>,
    style: Style<'a>,
}

impl<'a> Document<'a> {
    fn parse(text: &'a str) -> Result<Self, ConfigError> {
        let tree = jsonc_parser::parse_to_ast(text, &Default::default(), &Default::default());
        let Some(Node::Object(root)) = tree.ok().and_then(|tree| tree.value) else {
            return Err(ConfigError::Edit);
        };
        let style = Style::of(text, &root);
        Ok(Self { text, root, style })
    }

    /// A new last property.
    fn insertion(&self, object: &Object<'a>, name: &str, value: &Value) -> Option<(Range<usize>, String)> {
        let property = |depth| {
            let colon = if self.style.one_line { ":" } else { ": " };
            format!("{}{colon}{}", json!(name), self.style.render(value, depth))
        };
        let depth = self.depth(object);
        if let Some(last) = object.properties.last() {
            // What separates the last property from its neighbour separates the new one from it.
            let end = last.value.range().end;
            let head = &self.text[..last.range.start];
            let space = &head[head.trim_end().len()..];
            return Some((end..end, format!(",{space}{}", property(depth + 1))));
        }
        let (start, end) = (object.range.start + 1, object.range.end - 1);
        let inner = &self.text[start..end];
        let Style { newline, indent, one_line } = self.style;
        let new = if one_line {
            property(depth + 1)
        } else if inner.contains('\n') {
            format!("{newline}{}{}", indent.repeat(depth + 1), property(depth + 1))
        } else {
            let (inside, outside) = (indent.repeat(depth + 1), indent.repeat(depth));
            format!("{newline}{inside}{}{newline}{outside}", property(depth + 1))
        };
        Some((start..start, new))
    }

    fn replacement(&self, property: &ObjectProp<'a>, value: &Value) -> Option<(Range<usize>, String)> {
        let range = property.value.range();
        let depth = self.depth_at(range.start);
        Some((range.start..range.end, self.style.render(value, depth)))
    }

    /// Inserts or replaces the first property that has not the wanted value.
    fn first_difference(
        &self,
        object: &Object<'a>,
        wanted: [(&str, Option<Value>); 2],
    ) -> Option<(Range<usize>, String)> {
        wanted.into_iter().find_map(|(name, value)| {
            let value = value?;
            let Some(property) = object.get(name) else {
                return self.insertion(object, name, &value);
            };
            let range = property.value.range();
            let found: Option<Value> = serde_json::from_str(&self.text[range.start..range.end]).ok();
            if found.as_ref() == Some(&value) { None } else { self.replacement(property, &value) }
        })
    }

    fn depth(&self, object: &Object<'a>) -> usize {
        self.depth_at(object.range.start)
    }

    /// How many objects and arrays are open at a position.
    fn depth_at(&self, position: usize) -> usize {
        fn within(node: &Node<'_>, position: usize) -> usize {
            let range = node.range();
            if position <= range.start || position >= range.end {
                return 0;
            }
            let inner = |node: &Node<'_>| within(node, position);
            match node {
                Node::Object(object) => {
                    1 + object.properties.iter().map(|p| inner(&p.value)).max().unwrap_or(0)
                }
                Node::Array(array) => 1 + array.elements.iter().map(inner).max().unwrap_or(0),
                _ => 0,
            }
        }
        within(&Node::Object(self.root.clone()), position)
    }
}

/// The property and one comma.
fn removal(object: &Object<'_>, name: &str) -> Option<Range<usize>> {
    let position = object.properties.iter().position(|property| property.name.as_str() == name)?;
    let property = &object.properties[position];
    let previous = position.checked_sub(1).and_then(|position| object.properties.get(position));
    Some(match (previous, object.properties.get(position + 1)) {
        (Some(previous), _) => previous.value.range().end..property.value.range().end,
        (None, Some(next)) => property.range.start..next.range.start,
        (None, None) => object.range.start + 1..object.range.end - 1,
    })
}

/// How new text is written.
#[derive(Clone, Copy)]
struct Style<'a> {
    newline: &'a str,
    indent: &'a str,
    one_line: bool,
}

impl<'a> Style<'a> {
    fn of(text: &'a str, root: &Object<'a>) -> Self {
        let body = &text[root.range.start..root.range.end];
        let first = root.properties.first().map(|property| &text[root.range.start + 1..property.range.start]);
        let indent = first.and_then(|space| space.rsplit_once('\n')).map(|(_, indent)| indent);
        Self {
            newline: if text.contains("\r\n") { "\r\n" } else { "\n" },
            indent: indent.filter(|indent| !indent.is_empty()).unwrap_or(DEFAULT_INDENT),
            one_line: !body.contains('\n') && !root.properties.is_empty(),
        }
    }

    /// Objects over many lines unless everything is on one; arrays of words always on one.
    fn render(&self, value: &Value, depth: usize) -> String {
        match value {
            Value::Object(members) if !self.one_line && !members.is_empty() => {
                let (newline, inside, outside) =
                    (self.newline, self.indent.repeat(depth + 1), self.indent.repeat(depth));
                let lines: Vec<String> = members
                    .iter()
                    .map(|(key, value)| format!("{inside}{}: {}", json!(key), self.render(value, depth + 1)))
                    .collect();
                format!("{{{newline}{}{newline}{outside}}}", lines.join(&format!(",{newline}")))
            }
            Value::Array(items) if !self.one_line => {
                let items: Vec<String> = items.iter().map(Value::to_string).collect();
                format!("[{}]", items.join(", "))
            }
            _ => value.to_string(),
        }
    }
}
