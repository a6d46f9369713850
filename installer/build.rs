//! Compiles the public keys of the release into the installer. Runs on the build machine; trusts the checkout.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Another directory of keys, for whoever signs bundles with keys of their own.
const DIRECTORY_VARIABLE: &str = "RUNQ_RELEASE_KEYS";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-env-changed={DIRECTORY_VARIABLE}");
    let own = Path::new(&variable("CARGO_MANIFEST_DIR")?).join("../release/keys");
    let directory = env::var_os(DIRECTORY_VARIABLE).map_or(own, PathBuf::from);
    println!("cargo::rerun-if-changed={}", directory.display());
    let mut keys = Vec::new();
    for item in fs::read_dir(&directory)? {
        let path = item?.path();
        if path.extension().is_some_and(|extension| extension == "pub") {
            println!("cargo::rerun-if-changed={}", path.display());
            keys.push((path.file_name().unwrap_or_default().to_owned(), fs::read_to_string(&path)?));
        }
    }
    keys.sort();
    let names: Vec<_> = keys.iter().map(|(name, _)| name.to_string_lossy()).collect();
    let about = match names.as_slice() {
        [] => "development build without a release key: --public-key is needed".to_owned(),
        names => format!("release keys: {}", names.join(", ")),
    };
    println!("cargo::rustc-env=RUNQ_INSTALL_VERSION={} ({about})", variable("CARGO_PKG_VERSION")?);
    let mut code = String::from("&[");
    for (name, text) in &keys {
        write!(code, "({:?}, {text:?}),", name.to_string_lossy()).map_err(io::Error::other)?;
    }
    code.push(']');
    fs::write(Path::new(&variable("OUT_DIR")?).join("release_keys.rs"), code)
}

fn variable(name: &str) -> io::Result<String> {
    env::var(name).map_err(|error| io::Error::other(format!("{name}: {error}")))
}
