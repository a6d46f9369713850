//! The kernel's modules: what each needs and answers to, read from the files themselves, as packages carry no
//! modules.dep. Runs on the build machine; modules are data of the guest's architecture.

use crate::deb;
use crate::elf::{self, ElfError};
use crate::parallel;
use crate::recipe::{ElfData, ElfMachine};
use crate::tree::{NodeKind, Tree};
use bytes::Bytes;
use object::read::elf::{FileHeader, SectionHeader};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

/// A module file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Module {
    /// As the kernel lists it: `_` for `-`.
    pub(crate) name: String,
    /// Below the version's directory: `kernel/fs/fuse/virtiofs.ko.xz`.
    pub(crate) path: String,
    /// Names of the modules whose symbols it uses.
    pub(crate) depends: Vec<String>,
    /// Patterns of the devices and services that it answers to.
    pub(crate) aliases: Vec<String>,
    /// `pre: a b post: c`, as in modprobe.d(5).
    pub(crate) soft_dependencies: Vec<String>,
}

/// Why modules cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModuleError {
    #[error("the kernel package has no directory usr/lib/modules/VERSION/kernel")]
    NoVersion,
    #[error("compression of {path} is not supported, expected none, gz, xz or zst")]
    Compression { path: String },
    #[error("cannot decompress {path}")]
    Decompress { path: String, source: io::Error },
    #[error("there is no {path}")]
    NoFile { path: String },
    #[error("cannot read {path}")]
    Elf { path: String, source: ElfError },
    #[error("{path} is a module of kernel {found:?}, expected {expected:?}")]
    Vermagic { path: String, found: String, expected: String },
    #[error(
        "module group {group} requires {name}, which is neither a file of the kernel package nor built in"
    )]
    Missing { group: String, name: String },
    #[error("module {module} depends on {name}, which is neither a file of the kernel package nor built in")]
    Dependency { module: String, name: String },
}

/// All modules of one kernel.
pub(crate) struct ModuleTree {
    /// The kernel's release (`uname -r`).
    pub(crate) version: String,
    /// In the order of modules.order, which decides between modules of the same alias.
    pub(crate) modules: Vec<Module>,
    /// Names of what is part of the kernel.
    pub(crate) built_in: BTreeSet<String>,
}

impl ModuleTree {
    /// Reads all modules of the kernel in the tree.
    pub(crate) fn read(tree: &Tree, expected: (ElfMachine, ElfData)) -> Result<Self, ModuleError> {
        let mut paths = tree.below("usr/lib/modules").map(|(path, _)| path);
        let version = paths.find_map(|path| path.strip_prefix("usr/lib/modules/")?.split_once("/kernel/"));
        let (version, _) = version.ok_or(ModuleError::NoVersion)?;
        let folder = format!("usr/lib/modules/{version}");
        let mut modules = read_all(tree, &folder, expected)?;

        let order = listed(tree, &format!("{folder}/modules.order"));
        let position: BTreeMap<_, _> = order.iter().zip(0..).collect();
        modules.sort_by_cached_key(|module| {
            (position.get(&module.name).copied().unwrap_or(usize::MAX), module.path.clone())
        });
        let built_in = listed(tree, &format!("{folder}/modules.builtin")).into_iter().collect();
        Ok(Self { version: version.to_owned(), modules, built_in })
    }

    /// The module of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Module> {
        let name = module_name(name);
        self.modules.iter().find(|module| module.name == name)
    }

    /// Whether it is part of the kernel.
    pub(crate) fn is_built_in(&self, name: &str) -> bool {
        self.built_in.contains(&module_name(name))
    }

    /// The modules that one needs directly; what is built in needs nothing.
    pub(crate) fn dependencies(&self, module: &Module) -> impl Iterator<Item = Result<&Module, ModuleError>> {
        let files = module.depends.iter().filter(|name| !self.is_built_in(name));
        files.map(|name| {
            self.get(name)
                .ok_or_else(|| ModuleError::Dependency { module: module.name.clone(), name: name.clone() })
        })
    }
}

/// `a-b.ko.xz` is module `a_b`.
pub(crate) fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

/// The module as the kernel loads it. A signature at its end stays there.
pub(crate) fn decompress(path: &str, content: &Bytes) -> Result<Vec<u8>, ModuleError> {
    let suffix = path.rsplit_once(".ko").map_or("?", |(_, suffix)| suffix);
    let failed = |source| ModuleError::Decompress { path: path.to_owned(), source };
    let mut module = Vec::new();
    deb::decoder(suffix, &content[..])
        .map_err(failed)?
        .ok_or_else(|| ModuleError::Compression { path: path.to_owned() })?
        .read_to_end(&mut module)
        .map_err(failed)?;
    Ok(module)
}

/// Names in a list of paths, one a line.
fn listed(tree: &Tree, path: &str) -> Vec<String> {
    let text = tree.file(path).map(|content| String::from_utf8_lossy(content)).unwrap_or_default();
    text.lines().map(module_name).collect()
}

/// Decompression takes seconds: all processors work on it.
fn read_all(tree: &Tree, folder: &str, expected: (ElfMachine, ElfData)) -> Result<Vec<Module>, ModuleError> {
    let files: Vec<(&str, &Bytes)> = tree
        .below(folder)
        .filter(|(path, _)| path.rsplit('/').next().is_some_and(|file| file.contains(".ko")))
        .filter_map(|(path, node)| match &node.kind {
            NodeKind::File { content, .. } => Some((path, content)),
            NodeKind::Directory | NodeKind::Symlink { .. } => None,
        })
        .collect();
    let version = folder.rsplit('/').next().unwrap_or(folder);
    let read = |(path, content): &(&str, &Bytes)| -> Result<Module, ModuleError> {
        let data = decompress(path, content)?;
        let (module, found) = module(&path[folder.len() + 1..], &data, expected)
            .map_err(|source| ModuleError::Elf { path: (*path).to_owned(), source })?;
        // The kernel would refuse it, in a guest that has nothing else yet.
        if found != version {
            let (path, expected) = ((*path).to_owned(), version.to_owned());
            return Err(ModuleError::Vermagic { path, found, expected });
        }
        Ok(module)
    };
    parallel::map(&files, parallel::processors(), read).into_iter().collect()
}

/// Reads the section `.modinfo`: `name=value` strings, each ended by NUL. Also gives the release of the kernel that the
/// module is for, the first word of `vermagic`.
fn module(path: &str, data: &[u8], expected: (ElfMachine, ElfData)) -> Result<(Module, String), ElfError> {
    let (header, endian) = elf::header(data, expected)?;
    let sections = header.sections(endian, data)?;
    let mut module = Module { name: module_name(path), path: path.to_owned(), ..Module::default() };
    let mut release = String::new();
    let Some((_, section)) = sections.section_by_name(endian, b".modinfo") else {
        return Ok((module, release));
    };
    for field in section.data(endian, data)?.split(|byte| *byte == 0) {
        let Some((name, value)) = std::str::from_utf8(field)?.split_once('=') else { continue };
        match name {
            "depends" => {
                module.depends = value.split(',').filter(|n| !n.is_empty()).map(module_name).collect()
            }
            "alias" => module.aliases.push(value.to_owned()),
            "softdep" => module.soft_dependencies.push(value.to_owned()),
            "vermagic" => release = value.split(' ').next().unwrap_or(value).to_owned(),
            _ => {}
        }
    }
    Ok((module, release))
}

#[cfg(test)]
#[path = "kernel_modules/tests.rs"]
mod tests;
