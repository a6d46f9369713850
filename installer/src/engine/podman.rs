//! podman: a drop-in of containers.conf(5) with nothing but our runtimes. Pure.

use super::EngineError;

/// First line, by which the file is known as ours.
const MARK: &str =
    "# Written by runq-install, which also removes it: runq-install unregister --engine podman";

const TABLE: &str = "[engine.runtimes]";

/// The text with the runtime in it.
pub(super) fn set(text: Option<&str>, name: &str, path: &str) -> Result<String, EngineError> {
    let mut lines = lines(text.unwrap_or(MARK))?;
    let line = format!("{name} = [\"{path}\"]");
    match lines.iter_mut().find(|line| is_of(line, name)) {
        Some(found) => *found = line,
        None => lines.push(line),
    }
    Ok(written(&lines))
}

/// The text without it; `None` when no runtime is left.
pub(super) fn remove(text: &str, name: &str) -> Result<Option<String>, EngineError> {
    let mut lines = lines(text)?;
    lines.retain(|line| !is_of(line, name));
    Ok((!lines.is_empty()).then(|| written(&lines)))
}

/// The lines of the runtimes.
fn lines(text: &str) -> Result<Vec<String>, EngineError> {
    if text.lines().next() != Some(MARK) {
        return Err(EngineError::Foreign);
    }
    let is_runtime = |line: &&str| !line.is_empty() && !line.starts_with(['#', '[']);
    Ok(text.lines().filter(is_runtime).map(str::to_owned).collect())
}

fn is_of(line: &str, name: &str) -> bool {
    line.split_once(" = ").is_some_and(|(found, _)| found == name)
}

fn written(lines: &[String]) -> String {
    format!("{MARK}\n{TABLE}\n{}\n", lines.join("\n"))
}
