//! Modules that QEMU opens while it runs. QEMU takes only those of its own build, which both sides prove by a symbol
//! `qemu_stamp_…`: another one ends the build here, not the virtual machine there. Runs on the build machine.

use crate::elf;
use crate::tree::Tree;

const STAMP: &[u8] = b"qemu_stamp_";

/// Why QEMU would not take a module.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QemuModuleError {
    #[error("{module} has no symbol qemu_stamp_…: it is no module of QEMU")]
    NoStamp { module: String },
    #[error("{module} is a module of another build than {qemu}: it has {found}, expected {expected}")]
    OtherBuild { module: String, qemu: String, found: String, expected: String },
    #[error("{qemu} takes no modules: it has no qemu_stamp_…, and the recipe opens {module}")]
    NoModules { module: String, qemu: String },
}

/// Checks those of the `opened` files that are modules: ELF files in QEMU's directory of modules, `folder`.
pub(crate) fn check(tree: &Tree, qemu: &str, folder: &str, opened: &[String]) -> Result<(), QemuModuleError> {
    let content = |path: &str| tree.resolve(path).and_then(|found| tree.file(&found.path));
    let modules = opened.iter().filter(|path| path.starts_with(&format!("{folder}/")));
    let modules = modules.filter_map(|path| Some((path, content(path)?)));
    for (path, file) in modules.filter(|(_, file)| elf::is_elf(file)) {
        let (module, qemu_path) = (path.clone(), qemu.to_owned());
        let Some(expected) = content(qemu).and_then(|program| stamp(program)) else {
            return Err(QemuModuleError::NoModules { module, qemu: qemu_path });
        };
        let Some(found) = stamp(file) else { return Err(QemuModuleError::NoStamp { module }) };
        if found != expected {
            return Err(QemuModuleError::OtherBuild { module, qemu: qemu_path, found, expected });
        }
    }
    Ok(())
}

/// A module defines the symbol, and QEMU has its name as text to look it up by: in both it is a string of the file.
fn stamp(file: &[u8]) -> Option<String> {
    let starts = file.windows(STAMP.len()).enumerate().filter(|(_, window)| *window == STAMP);
    let mut names = starts.filter_map(|(start, _)| {
        let end =
            start + file[start..].iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')?;
        (end > start + STAMP.len()).then(|| String::from_utf8_lossy(&file[start..end]).into_owned())
    });
    names.next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deb::{Member, MemberKind};

    fn tree(qemu: &str, module: &str) -> Tree {
        let member = |path: &str, stamp: &str| Member {
            path: path.to_owned(),
            kind: MemberKind::File { content: format!("\x7fELF..\0{stamp}\0..").into(), executable: true },
        };
        let mut tree = Tree::default();
        tree.add_package("qemu", vec![member("usr/bin/qemu", qemu), member("usr/lib/x/qemu/tcg.so", module)])
            .unwrap();
        tree
    }

    #[test]
    fn takes_modules_of_the_same_build_alone() {
        let opened = ["usr/lib/x/qemu/tcg.so", "usr/share/qemu/text", "usr/lib/y.so"].map(str::to_owned);
        let check = |qemu: &str, module: &str| {
            super::check(&tree(qemu, module), "usr/bin/qemu", "usr/lib/x/qemu", &opened)
        };
        check("qemu_stamp_12ab", "qemu_stamp_12ab").unwrap();
        let other = check("qemu_stamp_12ab", "qemu_stamp_12ac").unwrap_err().to_string();
        assert!(
            other.contains("usr/lib/x/qemu/tcg.so") && other.contains("expected qemu_stamp_12ab"),
            "{other}"
        );
        assert!(matches!(check("qemu_stamp_12ab", "nothing"), Err(QemuModuleError::NoStamp { .. })));
        assert!(matches!(check("qemu_stamp_", "qemu_stamp_1"), Err(QemuModuleError::NoModules { .. })));
    }
}
