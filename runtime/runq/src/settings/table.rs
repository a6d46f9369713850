//! The settings, a row for each: what it is called, who may decide it, what it may be. Pure; the command line, the
//! help, `config.toml`, annotations and variables all follow from this table, and README.md shows it.

mod container;
mod hardware;

use super::Settings;

/// Who may decide a setting, besides the admin who has them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// The container: its user with `-e` or an annotation, and therefore its image with `ENV`, because Docker makes one
    /// environment of both. Nothing that reaches beyond the VM's own walls.
    Container,
    /// The container, too, when the admin names the flag in `--allow`.
    WhenAllowed,
    /// Nobody else.
    Admin,
}

/// One setting.
pub(crate) struct Row {
    /// `cpu` is `--cpu` in runtimeArgs, `cpu` in `config.toml` and the annotation `io.runq.cpu`.
    pub(crate) flag: &'static str,
    /// What the value is called in the help; empty for a switch, which is `true` when it has no value.
    pub(crate) value: &'static str,
    /// Whether each further one adds to those before; otherwise the last one counts.
    pub(crate) repeats: bool,
    /// Variables of the container.
    pub(crate) variables: &'static [&'static str],
    /// Who may decide it.
    pub(crate) who: Who,
    /// For the help, in half a line.
    pub(crate) help: &'static str,
    /// Completes "expected …".
    pub(crate) expected: &'static str,
    /// Validates the text and takes it over; `None` when it is not as expected.
    pub(crate) apply: fn(&mut Settings, &str) -> Option<()>,
}

impl Row {
    /// Whether the flag can stand alone.
    pub(crate) fn is_switch(&self) -> bool {
        self.value.is_empty()
    }
}

/// Most vCPUs of a VM.
pub(crate) const MAX_VCPUS: u32 = 64;

/// Bounds of a VM's memory in MiB. With less than 96 a distribution's kernel does not come as far as `init`.
pub(crate) const MEMORY_MIB: (u32, u32) = (96, 1_048_576);

/// All settings, in the order of the help.
pub(crate) fn all() -> impl Iterator<Item = &'static Row> {
    hardware::ROWS.iter().chain(container::ROWS)
}

/// The row of a flag, named without dashes.
pub(crate) fn find(flag: &str) -> Option<&'static Row> {
    all().find(|row| row.flag == flag)
}

/// The row of a variable.
pub(crate) fn find_variable(name: &str) -> Option<&'static Row> {
    all().find(|row| row.variables.contains(&name))
}

fn whole(value: &str, low: u32, high: u32) -> Option<u32> {
    value.parse().ok().filter(|number| (low..=high).contains(number))
}

const SWITCH: &str = "true or false";

/// What a flag without a value is, and what a variable may say.
fn switch(value: &str) -> Option<bool> {
    match value {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" | "" => Some(false),
        _ => None,
    }
}

fn words(value: &str) -> Vec<String> {
    value.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

const RESOLVER_WORDS: &str = "words of letters, digits, '.', ':', '_' and '-', separated by commas";

fn resolver_words(value: &str) -> Option<Vec<String>> {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b".:_-".contains(&byte);
    Some(words(value)).filter(|words| words.iter().all(|word| word.bytes().all(is_valid)))
}

/// `PATH[:OPTION,…]` as docker's `--tmpfs`, with Docker's default options.
fn tmpfs(value: &str) -> Option<(String, Vec<String>)> {
    let (path, options) = value.split_once(':').unwrap_or((value, ""));
    let clean = is_plain_path(path) && !value.contains(char::is_control);
    let mut all: Vec<String> = ["nosuid", "nodev", "noexec"].map(str::to_owned).into();
    all.extend(words(options));
    clean.then(|| (path.to_owned(), all))
}

/// Absolute, not the root, not upwards.
fn is_plain_path(path: &str) -> bool {
    path.starts_with('/')
        && path.len() > 1
        && path.split('/').all(|part| part != "..")
        && !path.contains(char::is_control)
}
