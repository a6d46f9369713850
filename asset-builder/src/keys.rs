//! `keygen`: a key pair for signing bundles. Runs on the build machine.

use anyhow::Context;
use runq_bundle::signature;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Makes PREFIX.key, which only its owner can read, and PREFIX.pub. Replaces nothing.
pub(crate) fn generate(prefix: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
    let named = |suffix: &str| {
        let mut path = prefix.as_os_str().to_owned();
        path.push(suffix);
        PathBuf::from(path)
    };
    let (secret_path, public_path) = (named(".key"), named(".pub"));
    let pair = signature::keygen()?;
    let secret = create(&secret_path, 0o600)?;
    let public = create(&public_path, 0o644).inspect_err(|_| {
        // The pair is useless without its other half.
        drop(std::fs::remove_file(&secret_path));
    })?;
    for (mut file, text, path) in [(secret, &pair.secret, &secret_path), (public, &pair.public, &public_path)]
    {
        file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok((secret_path, public_path))
}

fn create(path: &Path, mode: u32) -> anyhow::Result<std::fs::File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    file.with_context(|| format!("cannot create {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn makes_a_pair_that_only_the_owner_can_sign_with_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (secret, public) = generate(&folder.path().join("a.b")).unwrap();
        assert!(secret.ends_with("a.b.key") && public.ends_with("a.b.pub"));
        assert_eq!(fs_err::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs_err::read_to_string(&secret).unwrap();
        let signed = signature::sign(&text, b"data", "comment").unwrap();
        let key = signature::PublicKey::parse(&fs_err::read_to_string(&public).unwrap()).unwrap();
        signature::verify(b"data", &signed, &[key]).unwrap();

        fs_err::remove_file(&secret).unwrap();
        assert!(generate(&folder.path().join("a.b")).is_err());
        assert!(!secret.exists());
    }
}
