//! The kernel as Ubuntu packs it: an image package with a plain `data.tar` and a vmlinuz that only root can read, the
//! modules as a package of their own, compressed by zstd. On the host; made of Debian's kernel package.

use super::LIMIT;
use super::pool::{empty, record};
use crate::command;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Drivers of hardware that no guest has: half of the package.
const LEFT_OUT: [&str; 9] = [
    "sound",
    "drivers/gpu",
    "drivers/media",
    "drivers/net/ethernet",
    "drivers/net/wireless",
    "drivers/infiniband",
    "drivers/iio",
    "drivers/staging",
    "drivers/hwmon",
];

/// Repacks Debian's kernel into `archive` and gives the records of image, modules and meta-package.
pub(super) fn repack(deb: &Path, archive: &Path, work: &Path) -> Result<String> {
    let debian = work.join("kernel");
    command::output(Command::new("dpkg-deb").arg("--extract").arg(deb).arg(&debian), LIMIT)?;
    let lib = [debian.join("usr/lib/modules"), debian.join("lib/modules")];
    let lib = lib.iter().find(|lib| lib.exists()).context("the kernel package has no modules")?;
    let folder = fs_err::read_dir(lib)?.next().context("no kernel version")??;
    let version = folder.file_name().to_string_lossy().into_owned();
    recompress(&folder.path())?;

    let control = |name: &str, depends: &str| {
        format!(
            "Package: {name}-{version}\nVersion: {version}\nArchitecture: amd64\n\
             Maintainer: runq <tests@runq.test>\n{depends}Description: kernel of the test's archive\n"
        )
    };
    let image = work.join("image");
    fs_err::create_dir_all(image.join("DEBIAN"))?;
    fs_err::create_dir_all(image.join("boot"))?;
    let vmlinuz = image.join(format!("boot/vmlinuz-{version}"));
    fs_err::rename(debian.join(format!("boot/vmlinuz-{version}")), &vmlinuz)?;
    fs_err::set_permissions(&vmlinuz, PermissionsExt::from_mode(0o600))?;
    let text = control("linux-image", &format!("Depends: linux-modules-{version}\n"));
    fs_err::write(image.join("DEBIAN/control"), &text)?;
    let mut records = record(&text, &image, ("main", "none"), archive)?;

    let modules = work.join("modules");
    fs_err::create_dir_all(modules.join("DEBIAN"))?;
    fs_err::create_dir_all(modules.join("lib/modules"))?;
    fs_err::rename(folder.path(), modules.join("lib/modules").join(&version))?;
    let text = control("linux-modules", "");
    fs_err::write(modules.join("DEBIAN/control"), &text)?;
    records += &record(&text, &modules, ("main", "zstd"), archive)?;

    let depends = format!("Depends: linux-image-{version}\n");
    records += &empty("linux-image-virtual", &version, &depends, archive, work)?;
    Ok(records)
}

/// `.ko.xz` → `.ko.zst`, without what is left out and what cannot be loaded without that.
fn recompress(version: &Path) -> Result<()> {
    let kernel = version.join("kernel");
    for name in LEFT_OUT.iter().map(|name| kernel.join(name)).filter(|dir| dir.exists()) {
        fs_err::remove_dir_all(name)?;
    }
    let script = "find \"$1\" -name '*.ko.xz' -print0 | xargs -0 -r -n 200 -P 2 xz -d";
    command::output(Command::new("sh").args(["-c", script, "sh"]).arg(&kernel), LIMIT)?;
    drop_broken(version, &kernel)?;
    let script = "find \"$1\" -name '*.ko' -print0 | xargs -0 -r -n 200 -P 2 zstd -q -1 --rm";
    command::output(Command::new("sh").args(["-c", script, "sh"]).arg(&kernel), LIMIT)?;
    Ok(())
}

/// Removes the modules that depend on modules that are not there.
fn drop_broken(version: &Path, kernel: &Path) -> Result<()> {
    let list = command::output(Command::new("find").arg(kernel).args(["-name", "*.ko"]), LIMIT)?;
    let builtin = fs_err::read_to_string(version.join("modules.builtin"))?;
    let mut modules: BTreeMap<String, (PathBuf, Vec<String>)> = BTreeMap::new();
    for path in list.lines().map(PathBuf::from) {
        let depends = depends(&fs_err::read(&path)?);
        modules.insert(module_name(&path), (path, depends));
    }
    let builtin: Vec<_> = builtin.lines().map(|line| module_name(Path::new(line))).collect();
    loop {
        let is_there = |name: &String| modules.contains_key(name) || builtin.contains(name);
        let broken = modules.iter().filter(|(_, (_, depends))| !depends.iter().all(is_there));
        let broken: Vec<String> = broken.map(|(name, _)| name.clone()).collect();
        if broken.is_empty() {
            return Ok(());
        }
        for name in broken {
            if let Some((path, _)) = modules.remove(&name) {
                fs_err::remove_file(path)?;
            }
        }
    }
}

/// `depends=a,b` of the section `.modinfo`.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(start) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = module[start + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value);
    names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

fn module_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split(".ko").next().unwrap_or_default().replace('-', "_")
}
