//! Holds the rules of the house that the compiler does not know. Reads the sources of this checkout; needs
//! neither root nor network. Each failure names file and line and says what to do.

use anyhow::Result;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Lines of a file, not counting its tests when they are in a sibling file.
const MAX_LINES: usize = 400;

/// Workspace members that a member may depend on. Who is not named may depend on none.
const MAY_IMPORT: [(&str, &[&str]); 5] = [
    ("runq", &["runq-contract"]),
    ("runq-proxy", &["runq-contract", "runq-sys"]),
    ("runq-init", &["runq-contract", "runq-sys"]),
    ("runq-assets", &["runq-bundle"]),
    ("runq-install", &["runq-bundle"]),
];

/// What a module without side effects does not name.
const IMPURE: [&str; 6] = ["std::fs", "fs_err", "std::env", "std::process", "std::net::Tcp", "std::net::Udp"];

/// A source file of the workspace.
struct Source {
    /// Relative to the checkout.
    path: PathBuf,
    text: String,
}

impl Source {
    /// Number and text of the lines before the tests, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        let before_tests = lines.take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
        before_tests.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    fn is_below(&self, dir: &str) -> bool {
        self.path.starts_with(dir)
    }

    fn is_test(&self) -> bool {
        self.path.components().any(|part| part.as_os_str() == "tests") || self.path.ends_with("tests.rs")
    }
}

fn root() -> PathBuf {
    runq_tests::workspace::root()
}

fn sources() -> Result<Vec<Source>> {
    let mut dirs = vec![root()];
    let mut sources = Vec::new();
    while let Some(dir) = dirs.pop() {
        for entry in fs_err::read_dir(dir)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs_err::read_to_string(&path)?;
                sources.push(Source { path: path.strip_prefix(root())?.to_owned(), text });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

/// Fails with all violations, one a line.
fn expect_none(violations: Vec<String>, what_to_do: &str) {
    assert!(violations.is_empty(), "\n{}\n\n{what_to_do}\n", violations.join("\n"));
}

fn at(path: &Path, line: usize, what: &str) -> String {
    format!("{}:{line}: {}", path.display(), what.trim())
}

/// All lines of code in `sources` that contain one of `words` as a whole word.
fn lines_with(sources: &[Source], within: impl Fn(&Source) -> bool, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| within(source)) {
        let lines = source.code().filter(|(_, line)| words.iter().any(|word| has_word(line, word)));
        found.extend(lines.map(|(number, line)| at(&source.path, number, line)));
    }
    found
}

fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(start, _)| {
        !line[..start].ends_with(is_part) && !line[start + word.len()..].starts_with(is_part)
    })
}

#[test]
fn every_file_opens_with_its_purpose() {
    let without = sources().unwrap().into_iter().filter(|source| !source.text.starts_with("//! "));
    expect_none(
        without.map(|source| at(&source.path, 1, "no `//!` at the top")).collect(),
        "Open the file with `//!`: one sentence of purpose, where it runs, whom it trusts.",
    );
}

#[test]
fn files_have_a_readable_length() {
    let lengths = sources().unwrap().into_iter().filter(|source| !source.path.ends_with("tests.rs"));
    let lengths = lengths.map(|source| (source.text.lines().count(), source.path));
    expect_none(
        lengths
            .filter(|(lines, _)| *lines > MAX_LINES)
            .map(|(lines, path)| at(&path, lines, "the end"))
            .collect(),
        &format!(
            "Split files beyond {MAX_LINES} lines; a test block beyond 100 lines moves to a sibling `tests.rs`."
        ),
    );
}

#[test]
fn modules_called_pure_have_no_side_effects() {
    let pure = |source: &Source| {
        let path = source.path.to_string_lossy();
        !source.is_test()
            && (source.is_below("runtime/contract/src")
                || source.is_below("runtime/runq/src/spec")
                || ["runtime/runq/src/spec.rs", "installer/src/plan.rs", "runtime/proxy/src/qemu_args.rs"]
                    .contains(&path.as_ref()))
    };
    let sources = sources().unwrap();
    let violations = sources.iter().filter(|source| pure(source)).flat_map(|source| {
        let lines = source.code().filter(|(_, line)| IMPURE.iter().any(|name| line.contains(name)));
        lines.map(|(number, line)| at(&source.path, number, line)).collect::<Vec<_>>()
    });
    expect_none(
        violations.collect(),
        "Pass what the module needs as an argument, and do the deed where it is called.",
    );
}

#[test]
fn unsafe_code_is_in_one_crate() {
    let outside = |source: &Source| !source.is_below("runtime/sys") && !source.is_below("tests");
    expect_none(
        lines_with(
            &sources().unwrap(),
            outside,
            &["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "unsafe trait"],
        ),
        "Write a safe function in runtime/sys with a `// SAFETY:` comment, and call that.",
    );
}

#[test]
fn at_most_one_file_asks_for_the_target_architecture() {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for line in lines_with(&sources().unwrap(), |source| !source.is_below("tests"), &["target_arch"]) {
        let file = line.split(':').next().unwrap_or_default().to_owned();
        files.entry(file).or_insert(line);
    }
    if files.len() > 1 {
        expect_none(
            files.into_values().collect(),
            "Move the difference into arch/<arch>/: an architecture is data.",
        );
    }
}

#[test]
fn the_runtime_reads_its_environment_in_one_place() {
    let elsewhere = |source: &Source| {
        source.is_below("runtime")
            && !source.is_test()
            && !source.path.ends_with("settings.rs")
            && !source.path.ends_with("build.rs")
    };
    expect_none(
        lines_with(&sources().unwrap(), elsewhere, &["env::var", "env::var_os", "env::vars", "env::vars_os"]),
        "Read the variable in runtime/runq/src/settings.rs and pass its value on.",
    );
}

#[test]
fn members_import_only_whom_they_may() {
    let mut violations = Vec::new();
    let workspace: toml::Table = fs_err::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap();
    for member in members.iter().filter_map(toml::Value::as_str) {
        let path = Path::new(member).join("Cargo.toml");
        let text = fs_err::read_to_string(root().join(&path)).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        let name = manifest["package"]["name"].as_str().unwrap();
        let allowed = MAY_IMPORT.iter().find(|(who, _)| *who == name).map_or(&[][..], |(_, whom)| whom);
        for dependency in dependencies(&manifest) {
            if dependency.starts_with("runq") && !allowed.contains(&dependency.as_str()) {
                let line =
                    text.lines().position(|line| line.starts_with(&dependency)).unwrap_or_default() + 1;
                violations.push(at(&path, line, &format!("{name} imports {dependency}")));
            }
        }
    }
    expect_none(
        violations,
        "contract, sys and bundle import no member; runq imports contract; proxy and init import contract and sys; \
         asset-builder and installer import bundle; tests use the binaries. If the rule is wrong, change it here and in the commit say why.",
    );
}

/// Names in all dependency tables, also those for one target.
fn dependencies(manifest: &toml::Table) -> Vec<String> {
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets =
        manifest.get("target").and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::values);
    let tables = targets.filter_map(toml::Value::as_table).chain([manifest]);
    let lists = tables.flat_map(|table| kinds.iter().filter_map(|kind| table.get(*kind)?.as_table()));
    lists.flat_map(toml::Table::keys).cloned().collect()
}

#[test]
fn whole_words_are_found_and_parts_are_not() {
    assert!(has_word("    unsafe { call() }", "unsafe"));
    assert!(!has_word("#![deny(unsafe_code)]", "unsafe"));
    assert!(has_word("std::env::var(\"X\")", "env::var"));
    assert!(!has_word("std::env::vars()", "env::var"));
}
