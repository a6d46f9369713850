//! The public keys that are trusted: those of the command line, or else those of the release. Runs on the host.

use runq_bundle::signature::{PublicKey, SignatureError};
use std::io;
use std::path::PathBuf;

/// `release/keys/*.pub` at the time of the build: name and text.
const RELEASE_KEYS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/release_keys.rs"));

/// Text of `--version`: whose bundles this program takes.
pub(crate) const VERSION: &str = env!("RUNQ_INSTALL_VERSION");

/// There is nobody to trust, or a key cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("no public key is trusted: this is a development build, which has no release key")]
    None,
    #[error("cannot read the public key {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{text:?} is neither a file nor a public key")]
    Malformed { text: String, source: SignatureError },
}

/// Keys by file name or by their base64 line; without any, those that were compiled in.
pub(crate) fn trusted(texts: &[String]) -> Result<Vec<PublicKey>, KeyError> {
    let keys =
        if texts.is_empty() { release()? } else { texts.iter().map(given).collect::<Result<_, _>>()? };
    if keys.is_empty() { Err(KeyError::None) } else { Ok(keys) }
}

fn release() -> Result<Vec<PublicKey>, KeyError> {
    RELEASE_KEYS.iter().map(|(name, text)| parse(name, text)).collect()
}

fn given(text: &String) -> Result<PublicKey, KeyError> {
    match std::fs::read_to_string(text) {
        Ok(content) => parse(text, &content),
        Err(error) if error.kind() == io::ErrorKind::NotFound => parse(text, text),
        // A base64 line may be longer than a file name can be.
        Err(error) if error.kind() == io::ErrorKind::InvalidFilename => parse(text, text),
        Err(source) => Err(KeyError::Read { path: text.into(), source }),
    }
}

fn parse(name: &str, content: &str) -> Result<PublicKey, KeyError> {
    PublicKey::parse(content).map_err(|source| KeyError::Malformed { text: name.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_keys_from_files_and_from_words() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pub");
        let pair = runq_bundle::signature::keygen().unwrap();
        std::fs::write(&path, &pair.public).unwrap();
        let word = pair.public.lines().nth(1).unwrap().to_owned();
        let keys = trusted(&[path.to_str().unwrap().to_owned(), word]).unwrap();
        assert_eq!(keys[0], keys[1]);
        assert!(matches!(trusted(&["/nonexistent".to_owned()]), Err(KeyError::Malformed { .. })));
    }

    #[test]
    fn release_keys_are_keys_and_their_absence_is_said() {
        match trusted(&[]) {
            Ok(keys) => assert_eq!(keys.len(), RELEASE_KEYS.len()),
            Err(error) => assert!(matches!(error, KeyError::None) && RELEASE_KEYS.is_empty(), "{error}"),
        }
        assert_eq!(VERSION.contains("development build"), RELEASE_KEYS.is_empty());
    }
}
