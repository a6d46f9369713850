//! `export`: one file of an installed version, the same bytes as the bundle that it came from. Runs on the host; every
//! file is hashed on the way out.

use crate::cli::Export;
use crate::installed::{self, SignedVersion};
use crate::keys::{self, KeyError};
use crate::layout::Layout;
use crate::preflight::arch_label;
use crate::report::Report;
use crate::transaction::sync_directory;
use anyhow::{Context, Result, bail};
use runq_bundle::archive::write_bundle;
use runq_bundle::manifest::Manifest;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const FILE_MODE: u32 = 0o644;

/// Writes the bundle of a version.
pub(crate) fn export(options: &Export) -> Result<Report> {
    let layout = Layout::new(std::path::absolute(&options.prefix.prefix)?);
    let id = installed::chosen_or_active(&layout, options.version.as_deref())?;
    let tree = layout.version(&id);
    let mut report = Report::new(vec![("version", id.clone())]);
    let (manifest, bytes) = match keys::trusted(&options.keys.public_keys) {
        Err(KeyError::None) => {
            report.notes.push("without --public-key the signature was not verified".into());
            installed::read_manifest(&tree)?
        }
        keys => {
            let version = SignedVersion::open(&layout, &id, &keys?)?;
            report.facts.push(("signed by", version.verified.key.to_string()));
            (version.manifest, version.manifest_bytes)
        }
    };
    if manifest.to_json()? != bytes {
        bail!("the manifest of {id} is not in the form that bundles have, and its signature would be lost");
    }
    let path = output(options, &manifest)?;
    write(&tree, &manifest, &path).with_context(|| format!("cannot write {}", path.display()))?;
    report.facts.push(("bundle", path.display().to_string()));
    report.facts.push(("bytes", fs_err::metadata(&path)?.len().to_string()));
    report.summary = format!("{} is written", path.display());
    report.next = Some(format!("runq-install --arch {} --bundle {}", arch_label(&manifest), path.display()));
    Ok(report)
}

fn output(options: &Export, manifest: &Manifest) -> Result<PathBuf> {
    let name = format!("runq-{}-{}.tar.zst", manifest.version, arch_label(manifest));
    let path = std::path::absolute(options.output.as_deref().unwrap_or(Path::new(".")))?;
    let path = if path.is_dir() { path.join(name) } else { path };
    if path.symlink_metadata().is_ok() {
        bail!("{} is there already", path.display());
    }
    Ok(path)
}

fn write(tree: &Path, manifest: &Manifest, path: &Path) -> Result<()> {
    let directory = path.parent().context("it is in no directory")?;
    let signature = installed::read_signature(tree)?;
    let mut new = tempfile::Builder::new().prefix(".runq-export-").tempfile_in(directory)?;
    write_bundle(&mut new, manifest, &signature, |entry| {
        let file: Box<dyn io::Read> = Box::new(fs_err::File::open(tree.join(&entry.path))?);
        Ok(file)
    })?;
    new.as_file().set_permissions(Permissions::from_mode(FILE_MODE))?;
    new.as_file().sync_all()?;
    new.persist_noclobber(path)?;
    sync_directory(directory)
}

#[cfg(test)]
mod tests {
    use crate::test_host::Host;
    use std::fs;

    #[test]
    fn gives_the_bytes_of_the_bundle() {
        let host = Host::new();
        let bundle = host.bundle("1.0.0", "x86_64", "x86_64");
        host.install(&bundle, "--no-docker").unwrap();
        fs::create_dir(host.path("out")).unwrap();
        let line = "export --prefix DIR/prefix --public-key DIR/key.pub -o DIR/out";
        host.run(line).unwrap();
        let exported = host.path("out/runq-1.0.0-x86_64.tar.zst");
        assert!(fs::read(&exported).unwrap() == fs::read(&bundle).unwrap());
        let error = host.run(line).unwrap_err().to_string();
        assert!(error.ends_with("is there already"), "{error}");
        host.run("verify --public-key DIR/key.pub --bundle DIR/out/runq-1.0.0-x86_64.tar.zst").unwrap();
    }

    #[test]
    fn writes_nothing_of_a_tree_that_was_changed() {
        let host = Host::new();
        host.install(&host.bundle("1.0.0", "x86_64", "x86_64"), "--no-docker").unwrap();
        fs::create_dir(host.path("out")).unwrap();
        fs::write(host.prefix("current/runq"), "tampered").unwrap();
        let error = format!("{:#}", host.run("export --prefix DIR/prefix -o DIR/out").unwrap_err());
        assert!(error.contains("\"runq\" has size 8, the manifest has 64"), "{error}");
        assert_eq!(fs::read_dir(host.path("out")).unwrap().count(), 0);
    }
}
