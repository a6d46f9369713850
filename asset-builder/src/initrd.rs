//! The guest's initial root: `init`, the modules that booting needs, and the directories that `init` mounts on.
//! Runs on the build machine; the result runs in the guest.

use crate::cpio::Cpio;
use crate::kernel_modules::{self, ModuleError, ModuleTree};
use crate::module_closure::{self, Loaded};
use crate::provenance::InitrdModule;
use crate::recipe::{ModuleGroup, Share};
use crate::tree::Tree;

/// Where `init` finds the list of modules, relative to the root: the runtime contract's `INITRD_MODULES`. With the name of a
/// share behind it, those that only this share needs.
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
    let folder = format!("lib/modules/{}", modules.version);

    let mut cpio = Cpio::new();
    for path in ["dev", "etc", "lib", "lib/modules", &folder, "proc", "rootfs", "run", "sys"] {
        cpio.directory(path);
    }
    cpio.character_device("dev/console", 0o600, (5, 1));
    cpio.file("init", 0o755, init);
    let mut packed: Vec<InitrdModule> = Vec::new();
    for (share, loaded) in module_closure::lists(modules, groups, share.choices())? {
        let mut lines = String::new();
        for Loaded { module, when, need } in loaded {
            let path = format!("{folder}/{}.ko", module.name);
            let condition = when.map(|when| [" ", when]).unwrap_or_default();
            lines.extend(["/", &path].into_iter().chain(condition).chain(["\n"]));
            if packed.iter().any(|packed| packed.name == module.name) {
                continue;
            }
            let source = format!("usr/{folder}/{}", module.path);
            let missing = || ModuleError::NoFile { path: source.clone() };
            let content = kernel_modules::decompress(&source, tree.file(&source).ok_or_else(missing)?)?;
            cpio.file(&path, 0o644, &content);
            packed.push(InitrdModule { name: module.name.clone(), need });
        }
        let behind = share.map(|share| format!(".{}", share.name())).unwrap_or_default();
        cpio.file(&format!("{MODULE_LIST}{behind}"), 0o644, lines.as_bytes());
    }
    Ok(Initrd { bytes: cpio.finish(), modules: packed })
}
