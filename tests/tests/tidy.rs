//! Holds the rules of the house that the compiler does not know. Reads the sources of this checkout; needs
//! neither root nor network. Each failure names file and line and says what to do.

use anyhow::Result;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Lines of a file, not counting its tests when they are in a sibling file.
const MAX_LINES: usize = 400;

/// Workspace members that a member may depend on. Who is not named may depend on none.
const MAY_IMPORT: [(&str, &[&str]); 5] = [
    ("runq", &["runq-contract"]),
    ("runq-proxy", &["runq-contract", "runq-sys"]),
    ("runq-init", &["runq-contract", "runq-sys"]),
    ("runq-assets", &["runq-bundle", "runq-sys"]),
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

/// Names of the tests, of the end-to-end tests' files, and of modules with tests.
fn tests() -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for source in sources()? {
        if source.is_below("tests/tests/e2e") {
            names.extend(source.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
        let mut lines = source.text.lines().map(str::trim);
        while lines.any(|line| line == "#[test]") {
            let function = lines.find_map(|line| line.strip_prefix("fn "));
            names.extend(function.and_then(|text| text.split('(').next()).map(str::to_owned));
        }
    }
    Ok(names)
}

/// Words in backticks.
fn code_words(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// From a heading to the next one.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let section = text.split_once(heading).map_or("", |(_, section)| section);
    section.split("\n## ").next().unwrap_or_default()
}

#[test]
fn the_architecture_names_tests_that_exist() {
    let text = fs_err::read_to_string(root().join("runtime/ARCHITECTURE.md")).unwrap();
    let tests = tests().unwrap();
    let mut violations = Vec::new();
    let mut claims = 0;
    let mut check = |claim: &str, held_by: &str| {
        claims += 1;
        let mut names = code_words(held_by).filter(|name| !name.starts_with("make ")).peekable();
        if names.peek().is_none() && !held_by.contains("`make ") {
            violations.push(format!("{claim}: names no test"));
        }
        violations.extend(
            names.filter(|name| !tests.contains(*name)).map(|name| format!("{claim}: no test {name}")),
        );
    };
    for invariant in section(&text, "\n## Invariants").split("\n* ").skip(1) {
        let claim = invariant.lines().next().unwrap_or_default();
        check(claim, invariant.rsplit_once("Held by").map_or("", |(_, held_by)| held_by));
    }
    for row in section(&text, "\n## Which test shows which feature")
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1)
    {
        let mut columns = row.split(" | ");
        check(columns.next().unwrap_or_default(), columns.next().unwrap_or_default());
    }
    assert!(claims > 30, "{claims} claims: have the headings changed?");
    expect_none(violations, "Name the test that holds what runtime/ARCHITECTURE.md says, or write it.");
}

#[test]
fn every_docker_option_of_the_readme_is_in_an_end_to_end_test() {
    let readme = fs_err::read_to_string(root().join("README.md")).unwrap();
    let (_, table) = readme.split_once("| option of `docker run` |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let options: BTreeSet<&str> = rows
        .flat_map(|row| code_words(row.split('|').nth(1).unwrap_or_default()).flat_map(str::split_whitespace))
        .filter(|word| word.starts_with('-'))
        .collect();
    assert!(options.len() > 30, "{options:?}");
    let sources = sources().unwrap();
    let is_used = |option: &str| {
        let [word, value] = ["\"", "="].map(|end| format!("\"{option}{end}"));
        let e2e = sources.iter().filter(|source| source.is_below("tests/tests/e2e"));
        e2e.into_iter().any(|source| source.text.contains(&word) || source.text.contains(&value))
    };
    expect_none(
        options.into_iter().filter(|option| !is_used(option)).map(str::to_owned).collect(),
        "Write an end-to-end test of what README.md says about the option.",
    );
}

#[test]
fn every_example_of_the_readme_has_its_test() {
    use runq_tests::readme::{TESTED, commands};
    let tests = tests().unwrap();
    let examples: Vec<String> = commands()
        .unwrap()
        .into_iter()
        .filter(|command| ["docker run ", "docker create "].iter().any(|start| command.starts_with(start)))
        // The picture, and what a whole target of the Makefile is for.
        .filter(|command| {
            !command.contains("docker run busybox docker run") && !command.contains("runq-s390x")
        })
        .collect();
    let untested =
        examples.iter().filter(|example| !TESTED.iter().any(|(start, _)| example.starts_with(start)));
    let stale = TESTED.iter().filter(|(start, _)| !examples.iter().any(|example| example.starts_with(start)));
    let missing = TESTED.iter().filter(|(_, test)| !tests.contains(*test));
    let violations = untested.map(|example| format!("{example}: no test runs it"));
    let violations = violations.chain(stale.map(|(start, _)| format!("{start}: not in README.md")));
    let violations = violations.chain(missing.map(|(start, test)| format!("{start}: no test {test}")));
    expect_none(violations.collect(), "Correct the list in tests/src/readme.rs, and write the test.");
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
         asset-builder and installer import bundle, asset-builder sys as well; tests use the binaries. If the rule is wrong, change it here and in the commit say why.",
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
