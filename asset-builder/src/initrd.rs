//! The guest's initial root: `init`, the modules that booting needs, and the directories that `init` mounts on.
//! Runs on the build machine; the result runs in the guest.

use crate::cpio::Cpio;
use crate::kernel_modules::{self, ModuleError, ModuleTree};
use crate::module_closure::{self, Loaded};
use crate::provenance::InitrdModule;
use crate::recipe::{ModuleGroup, Share};
use crate::tree::Tree;

/// Where `init` finds the list of modules, relative to the root: the runtime contract's `INITRD_MODULES`.
const MODULE_LIST: &str = "etc/modules";

/// The archive, and which modules it has.
pub(crate) struct Initrd {
    pub(crate) bytes: Vec<u8>,
    pub(crate) modules: Vec<InitrdModule>,
}

/// Makes the archive. Modules are stored decompressed, so that the guest loses no time with that.
pub(crate) fn build(
    init: &[u8],
    tree: &Tree,
    modules: &ModuleTree,
    (groups, share): (&[ModuleGroup], Share),
) -> Result<Initrd, ModuleError> {
    let order = module_closure::load_order(modules, groups, share)?;
    let folder = format!("lib/modules/{}", modules.version);

    let mut cpio = Cpio::new();
    for path in ["dev", "etc", "lib", "lib/modules", &folder, "proc", "rootfs", "run", "sys"] {
        cpio.directory(path);
    }
    cpio.character_device("dev/console", 0o600, (5, 1));
    cpio.file("init", 0o755, init);
    let mut list = String::new();
    for Loaded { module, when, .. } in &order {
        let source = format!("usr/{folder}/{}", module.path);
        let missing = || ModuleError::NoFile { path: source.clone() };
        let content = kernel_modules::decompress(&source, tree.file(&source).ok_or_else(missing)?)?;
        let path = format!("{folder}/{}.ko", module.name);
        cpio.file(&path, 0o644, &content);
        let condition = when.map(|when| [" ", when]).unwrap_or_default();
        list.extend(["/", &path].into_iter().chain(condition).chain(["\n"]));
    }
    cpio.file(MODULE_LIST, 0o644, list.as_bytes());
    let module = |loaded: Loaded<'_>| InitrdModule { name: loaded.module.name.clone(), need: loaded.need };
    let modules = order.into_iter().map(module);
    Ok(Initrd { bytes: cpio.finish(), modules: modules.collect() })
}
