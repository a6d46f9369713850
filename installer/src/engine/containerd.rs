//! containerd: a block at the end of config.toml, between two marks, for its versions 2 (containerd 1.x) and 3 (2.x). TOML allows a new table at
//! the end of every text, so that nothing else has to change. Pure.
//!
//! Not a drop-in of `imports`: up to containerd 1.7 an imported table replaces that of the same plugin as a whole.

use super::EngineError;
use toml::{Table, Value};

/// Where the runtimes are, by version of the configuration.
const PLUGINS: [(i64, &str); 2] = [(2, "io.containerd.grpc.v1.cri"), (3, "io.containerd.cri.v1.runtime")];

/// The version that the smallest file of this program's has: every containerd since 1.3 reads it.
const NEW_VERSION: i64 = 2;

/// The text with the runtime in it.
pub(super) fn set(text: &str, name: &str, path: &str) -> Result<String, EngineError> {
    let text = match text.trim().is_empty() {
        true => format!("version = {NEW_VERSION}\n"),
        false => text.to_owned(),
    };
    let rest = without_block(&text, name);
    let wanted = parse(&rest)?;
    let plugin = plugin(&wanted)?;
    if runtime(&wanted, plugin, name).is_some() {
        return Err(EngineError::Taken { name: name.to_owned() });
    }
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let table = format!("[plugins.\"{plugin}\".containerd.runtimes.{name}");
    let lines = [
        begin(name),
        format!("{table}]"),
        "runtime_type = \"io.containerd.runc.v2\"".to_owned(),
        format!("{table}.options]"),
        format!("BinaryName = \"{path}\""),
        end(name),
    ];
    let block: String = lines.iter().map(|line| format!("{line}{newline}")).collect();
    // What is there already stays where it is: another block may follow.
    let edited = match block_of(&text, name) {
        Some(range) => format!("{}{block}{}", &text[..range.start], &text[range.end..]),
        None => {
            let gap = if text.ends_with('\n') { "" } else { newline };
            format!("{text}{gap}{block}")
        }
    };
    let mut found = parse(&edited)?;
    let is_there = runtime(&found, plugin, name)
        .and_then(|runtime| runtime.get("options")?.get("BinaryName")?.as_str())
        .is_some_and(|found| found == path);
    if !is_there || !is_only_addition(&mut found, &wanted, plugin, name) {
        return Err(EngineError::Edit);
    }
    Ok(edited)
}

/// The text without it.
pub(super) fn remove(text: &str, name: &str) -> Result<Option<String>, EngineError> {
    let rest = without_block(text, name);
    parse(&rest)?;
    // A file that we have begun holds nothing else than its version.
    if rest != text && rest.trim() == format!("version = {NEW_VERSION}") {
        return Ok(None);
    }
    Ok(Some(rest))
}

fn begin(name: &str) -> String {
    format!("# runtime {name}: begin of what runq-install has added")
}

fn end(name: &str) -> String {
    format!("# runtime {name}: end of what runq-install has added")
}

/// The block with its marks and line ends.
fn block_of(text: &str, name: &str) -> Option<std::ops::Range<usize>> {
    let start = text.find(&begin(name))?;
    let mark = end(name);
    let end = start + text[start..].find(&mark)? + mark.len();
    let newline = text[end..].find('\n').map_or(text.len() - end, |position| position + 1);
    Some(start..end + newline)
}

fn without_block(text: &str, name: &str) -> String {
    match block_of(text, name) {
        Some(range) => format!("{}{}", &text[..range.start], &text[range.end..]),
        None => text.to_owned(),
    }
}

fn parse(text: &str) -> Result<Table, EngineError> {
    text.parse().map_err(EngineError::Syntax)
}

fn plugin(config: &Table) -> Result<&'static str, EngineError> {
    // Without a number containerd takes a file for version 1, whose tables have other names.
    let version = config.get("version").map_or(Some(1), Value::as_integer).unwrap_or_default();
    let known = PLUGINS.iter().find(|(known, _)| *known == version);
    known.map(|(_, plugin)| *plugin).ok_or(EngineError::Version { found: version })
}

fn runtime<'a>(config: &'a Table, plugin: &str, name: &str) -> Option<&'a Value> {
    config.get("plugins")?.get(plugin)?.get("containerd")?.get("runtimes")?.get(name)
}

/// Whether the configuration is the wanted one but for the runtime, and the tables around it that it has brought.
fn is_only_addition(found: &mut Table, wanted: &Table, plugin: &str, name: &str) -> bool {
    let path = ["plugins", plugin, "containerd", "runtimes", name];
    cut(found, wanted, &path);
    found == wanted
}

/// Removes what is at the path, and every table on the way that the wanted one does not have.
fn cut(found: &mut Table, wanted: &Table, path: &[&str]) {
    let Some((first, rest)) = path.split_first() else { return };
    let known = wanted.get(*first).and_then(Value::as_table);
    match (known, found.get_mut(*first)) {
        (Some(known), Some(Value::Table(inner))) if !rest.is_empty() => cut(inner, known, rest),
        _ => drop(found.remove(*first)),
    }
}
