//! Build script: compiles in what `arch/` has, so that to add an architecture is to add a folder.
//! Writes a table of (path below `arch/`, text) of every TOML file and every lock there.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let arch = Path::new(env!("CARGO_MANIFEST_DIR")).join("../arch");
    let mut table = String::from("&[\n");
    for folder in sorted(&arch)? {
        for file in sorted(&folder)?
            .iter()
            .filter(|file| file.extension().is_some_and(|end| end == "toml" || end == "lock"))
        {
            let name = file.strip_prefix(&arch).map_err(io::Error::other)?;
            writeln!(table, "({name:?}, include_str!({file:?})),").map_err(io::Error::other)?;
        }
        println!("cargo::rerun-if-changed={}", folder.display());
    }
    table.push(']');
    println!("cargo::rerun-if-changed={}", arch.display());
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("OUT_DIR is not set"))?;
    fs::write(Path::new(&out).join("arch.rs"), table)
}

fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
