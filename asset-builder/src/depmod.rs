//! The files by which modprobe finds modules: modules.dep, modules.alias and modules.softdep as text for busybox, and
//! the binary indices that kmod insists on. What depmod(8) does, without running code. Runs on the build machine.

use crate::kernel_modules::{Module, ModuleTree};
use crate::module_index::Index;
use std::fmt::Write as _;

/// (name below the version's directory, content) of each file.
pub(crate) fn files(tree: &ModuleTree) -> Vec<(&'static str, Vec<u8>)> {
    let mut dep = String::new();
    let mut dep_index = Index::default();
    let mut alias = String::from("# Aliases extracted from modules themselves.\n");
    let mut alias_index = Index::default();
    let mut soft = String::from("# Soft dependencies extracted from modules themselves.\n");
    for (module, priority) in tree.modules.iter().zip(0..) {
        let mut line = format!("{}:", module.path);
        for needed in all_dependencies(tree, module) {
            line.extend([" ", &needed.path]);
        }
        dep.extend([&line, "\n"]);
        dep_index.insert(&module.name, priority, &line);
        for pattern in &module.aliases {
            line_of(&mut alias, format_args!("alias {pattern} {}", module.name));
            alias_index.insert(&normalise_alias(pattern), priority, &module.name);
        }
        for text in &module.soft_dependencies {
            line_of(&mut soft, format_args!("softdep {} {text}", module.name));
        }
    }
    let mut built_in = Index::default();
    for name in &tree.built_in {
        built_in.insert(name, 0, "");
    }
    vec![
        ("modules.alias", alias.into_bytes()),
        ("modules.alias.bin", alias_index.to_bytes()),
        ("modules.builtin.bin", built_in.to_bytes()),
        ("modules.dep", dep.into_bytes()),
        ("modules.dep.bin", dep_index.to_bytes()),
        ("modules.softdep", soft.into_bytes()),
    ]
}

fn line_of(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    writeln!(text, "{line}").unwrap_or_default();
}

/// Direct and indirect ones, each before what it needs: modprobe loads the line from its end. What another package
/// would have (`linux-modules-extra`) is left out, as depmod does: loading such a module fails for its symbols.
fn all_dependencies<'a>(tree: &'a ModuleTree, module: &'a Module) -> Vec<&'a Module> {
    fn visit<'a>(tree: &'a ModuleTree, module: &'a Module, found: &mut Vec<&'a Module>) {
        for needed in tree.dependencies(module).flatten() {
            if !found.iter().any(|known| known.name == needed.name) {
                visit(tree, needed, found);
                found.push(needed);
            }
        }
    }
    let mut found = Vec::new();
    visit(tree, module, &mut found);
    found.reverse();
    found
}

/// kmod looks aliases up with `_` for `-`, but not within brackets.
fn normalise_alias(pattern: &str) -> String {
    let mut in_brackets = false;
    let normal = pattern.chars().map(|letter| {
        in_brackets = (in_brackets || letter == '[') && letter != ']';
        if letter == '-' && !in_brackets { '_' } else { letter }
    });
    normal.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_depmod_writes() {
        let module = |name: &str, depends: &[&str]| Module {
            name: name.to_owned(),
            path: format!("kernel/{name}.ko.xz"),
            depends: depends.iter().map(|&name| name.to_owned()).collect(),
            aliases: vec![format!("pci:{name}-[a-z]*")],
            soft_dependencies: vec!["pre: x".to_owned()],
        };
        let modules = vec![
            module("ext4", &["jbd2", "mbcache", "crc16"]),
            module("jbd2", &["crc16"]),
            module("mbcache", &[]),
        ];
        let tree = ModuleTree { version: "6".to_owned(), modules, built_in: ["crc16".to_owned()].into() };
        let files = files(&tree);
        let text = |name: &str| {
            let (_, content) = files.iter().find(|(found, _)| *found == name).unwrap();
            String::from_utf8(content.clone()).unwrap()
        };
        let dep = "kernel/ext4.ko.xz: kernel/mbcache.ko.xz kernel/jbd2.ko.xz\nkernel/jbd2.ko.xz:\nkernel/mbcache.ko.xz:\n";
        assert_eq!(text("modules.dep"), dep);
        assert!(text("modules.alias").contains("\nalias pci:jbd2-[a-z]* jbd2\n"));
        assert!(text("modules.softdep").ends_with("softdep mbcache pre: x\n"));
        assert_eq!(normalise_alias("a-b[0-9]-c"), "a_b[0-9]_c");
    }
}
