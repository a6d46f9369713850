//! What a program needs to run: its libraries, their libraries, the dynamic linker, and the links by which they are
//! found. Packages are loaded when a library is missing, so that only what leads to a file is downloaded.
//! Runs on the build machine.

use crate::elf::{self, ElfError, Linkage};
use crate::provenance::Need;
use crate::recipe::BuildRules;
use crate::tree::Tree;
use std::collections::BTreeMap;

/// The files that are known so far, and a way to know more.
pub(crate) trait Library {
    /// Why a package cannot be loaded.
    type Error;

    /// All files of the packages loaded so far.
    fn tree(&self) -> &Tree;

    /// Says which libraries `owner` is going to ask for, so that their packages can be got ready together.
    fn prepare(&mut self, owner: &str, libraries: &[&str]);

    /// Loads one more package that `owner` needs, the likeliest to have `library` first. False when all are loaded.
    fn load_dependency(&mut self, owner: &str, library: &str) -> Result<bool, Self::Error>;
}

/// Why a program cannot be completed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClosureError<E> {
    #[error("no package of the recipe has {path}")]
    Missing { path: String },
    #[error("cannot use {path} of package {package}")]
    Elf { path: String, package: String, source: ElfError },
    #[error("{path} needs {library}, which package {package} and all that it depends on do not have")]
    Library { path: String, library: String, package: String },
    #[error("{path} names the interpreter {found}, expected /{expected}")]
    Interpreter { path: String, found: String, expected: String },
    #[error(transparent)]
    Load(E),
}

/// Paths of files and links that the files in `roots` need, the roots included, each with the first need that led to it.
pub(crate) fn closure<L: Library>(
    library: &mut L,
    rules: &BuildRules,
    roots: &[(String, Need)],
) -> Result<BTreeMap<String, Need>, ClosureError<L::Error>> {
    let mut paths = BTreeMap::new();
    let mut queue = roots.to_vec();
    while let Some((path, need)) = queue.pop() {
        let resolved = library.tree().resolve(&path).ok_or(ClosureError::Missing { path })?;
        for link in resolved.links {
            paths.entry(link).or_insert_with(|| need.clone());
        }
        if paths.contains_key(&resolved.path) {
            continue;
        }
        paths.insert(resolved.path.clone(), need);
        let Some(file) = Dependent::read(library.tree(), resolved.path, rules)? else { continue };
        if let Some(found) = &file.linkage.interpreter {
            if found.trim_start_matches('/') != rules.interpreter {
                let (found, expected) = (found.clone(), rules.interpreter.clone());
                return Err(ClosureError::Interpreter { path: file.path, found, expected });
            }
            let path = file.locate(library, &rules.interpreter, std::slice::from_ref(&rules.interpreter))?;
            queue.push((path, Need::by(&file.path, "interpreter")));
        }
        let folders = file.search_path(rules);
        let candidates =
            |name: &str| folders.iter().map(|folder| format!("{folder}/{name}")).collect::<Vec<_>>();
        let is_missing =
            |name: &&str| !candidates(name).iter().any(|path| library.tree().resolve(path).is_some());
        let missing: Vec<&str> = file.linkage.needed.iter().map(String::as_str).filter(is_missing).collect();
        library.prepare(&file.package, &missing);
        for name in &file.linkage.needed {
            let candidates = candidates(name);
            let path = file.locate(library, name, &candidates)?;
            queue.push((path, Need::by(&file.path, format!("library {name}"))));
        }
    }
    Ok(paths)
}

/// An ELF file, and the package whose dependencies have what it needs.
struct Dependent {
    path: String,
    package: String,
    linkage: Linkage,
}

impl Dependent {
    /// `None` for what is not an ELF file.
    fn read<E>(tree: &Tree, path: String, rules: &BuildRules) -> Result<Option<Self>, ClosureError<E>> {
        let Some(content) = tree.file(&path).filter(|content| elf::is_elf(content)) else { return Ok(None) };
        let package = tree.get(&path).and_then(|node| node.package.clone()).unwrap_or_default();
        match elf::linkage(content, rules.elf()) {
            Ok(linkage) => Ok(Some(Self { path, package, linkage })),
            Err(source) => Err(ClosureError::Elf { path, package, source }),
        }
    }

    /// Directories in which the dynamic linker looks, in its order. There is no ld.so.cache in the bundle.
    fn search_path(&self, rules: &BuildRules) -> Vec<String> {
        let origin = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let run_path = self.linkage.run_path.iter().filter(|folder| !folder.is_empty());
        let own = run_path.map(|folder| folder.replace("${ORIGIN}", "$ORIGIN").replace("$ORIGIN", origin));
        own.chain([format!("usr/lib/{}", rules.multiarch), "usr/lib".to_owned()]).collect()
    }

    /// The first candidate that exists, after loading as many dependencies as it takes.
    fn locate<L: Library>(
        &self,
        library: &mut L,
        name: &str,
        candidates: &[String],
    ) -> Result<String, ClosureError<L::Error>> {
        loop {
            let found = candidates.iter().find(|path| library.tree().resolve(path).is_some());
            if let Some(path) = found {
                return Ok(path.clone());
            }
            if !library.load_dependency(&self.package, name).map_err(ClosureError::Load)? {
                let (path, package) = (self.path.clone(), self.package.clone());
                return Err(ClosureError::Library { path, library: name.to_owned(), package });
            }
        }
    }
}

#[cfg(test)]
#[path = "closure/tests.rs"]
mod tests;
