//! Signatures in minisign's format (prehashed), interchangeable with the `minisign` program in both directions.
//! Signing runs on the build machine, verification on the host, which trusts only the keys that its caller names.
//!
//! A signature file may hold the signatures of several keys, one after the other: while a key is replaced, old installers
//! trust the one and new ones the other. `minisign -V` looks at the first.
//!
//! Format: <https://jedisct1.github.io/minisign/>. New keys and verification are those of the crates `minisign`
//! and `minisign-verify`. Signing is done here: the crate adds random bytes to every signature, where a bundle has to be
//! reproducible, and rejects the keys that `minisign -W` writes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use blake2::{Blake2b512, Digest};
use ed25519_dalek::{Signer, SigningKey};
use std::fmt;

const UNTRUSTED_PREFIX: &str = "untrusted comment: ";
const TRUSTED_PREFIX: &str = "trusted comment: ";
const PREHASHED: &[u8] = b"ED";
const SIGNATURE_LINES: usize = 4;

/// More than any rotation of keys needs.
const MAX_SIGNATURES: usize = 8;
const KEY_ID_BYTES: usize = 8;

/// A secret key decoded: algorithm, derivation (none: no password), checksum algorithm, two bytes each; salt of 32 and
/// two limits of 8 bytes, unused; then these.
const SECRET_KEY_ID: usize = 54;
const SECRET_KEY: usize = SECRET_KEY_ID + KEY_ID_BYTES;
const SECRET_KEY_END: usize = SECRET_KEY + 64;
/// After a checksum, which `minisign -W` leaves empty.
const SECRET_KEY_FILE_BYTES: usize = SECRET_KEY_END + 32;
const NO_PASSWORD: &[u8] = b"Ed\0\0";

/// What can be wrong with keys and signatures.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// The system gave no randomness.
    #[error("cannot generate a key pair")]
    Generate(#[source] minisign::PError),
    /// Not a secret key.
    #[error("secret key is malformed")]
    SecretKey,
    /// A secret key that nobody but its owner can use.
    #[error("secret key has a password or is of another kind")]
    EncryptedKey,
    /// The secret half does not belong to the public half beside it.
    #[error("secret key is inconsistent")]
    InconsistentKey(#[source] ed25519_dalek::SignatureError),
    /// The comment would break the format.
    #[error("trusted comment has a line break")]
    Comment,
    /// Not a public key.
    #[error("public key is malformed")]
    PublicKey(#[source] minisign_verify::Error),
    /// Not a signature.
    #[error("signature is malformed")]
    Malformed(#[source] minisign_verify::Error),
    /// There is no key to trust.
    #[error("no public key is trusted")]
    NoKeys,
    /// Made by a key that the caller does not trust.
    #[error("signature is by key {}, trusted are {}", list(found), list(trusted))]
    UnknownKey {
        /// The signers.
        found: Vec<KeyId>,
        /// Whom the caller trusts.
        trusted: Vec<KeyId>,
    },
    /// Made by a trusted key, but for something else.
    #[error("signature by key {key} does not match the data")]
    Mismatch {
        /// The signer, as the signature claims.
        key: KeyId,
        /// Why.
        source: minisign_verify::Error,
    },
}

/// The number by which minisign names a key, `RWQ…` decoded; text as minisign prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; KEY_ID_BYTES]);

/// Both halves of a new key, as the texts of their files.
pub struct KeyPair {
    /// For the signer alone. It has no password: keep it in a file that only its owner can read.
    pub secret: String,
    /// For everyone.
    pub public: String,
}

/// A key that the caller trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: minisign_verify::PublicKey,
    id: KeyId,
}

/// What a good signature says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Who signed.
    pub key: KeyId,
    /// Covered by the signature.
    pub trusted_comment: String,
}

/// A new key pair.
///
/// # Errors
/// When the system gives no randomness.
pub fn keygen() -> Result<KeyPair, SignatureError> {
    let pair = minisign::KeyPair::generate_unencrypted_keypair().map_err(SignatureError::Generate)?;
    let secret = pair.sk.to_box(Some("runq secret key")).map_err(SignatureError::Generate)?;
    let public = pair.pk.to_box().map_err(SignatureError::Generate)?;
    Ok(KeyPair { secret: secret.to_string(), public: public.to_string() })
}

/// The text of a signature file. The same key, data and comment give the same text.
///
/// # Errors
/// When the secret key cannot be used, or the comment has more than one line.
pub fn sign(secret_text: &str, data: &[u8], trusted_comment: &str) -> Result<String, SignatureError> {
    if trusted_comment.contains(['\n', '\r']) {
        return Err(SignatureError::Comment);
    }
    let secret = secret_text
        .lines()
        .nth(1)
        .and_then(|line| BASE64.decode(line.trim_end()).ok())
        .filter(|bytes| bytes.len() == SECRET_KEY_FILE_BYTES)
        .ok_or(SignatureError::SecretKey)?;
    if !secret.starts_with(NO_PASSWORD) {
        return Err(SignatureError::EncryptedKey);
    }
    let mut pair = [0; SECRET_KEY_END - SECRET_KEY];
    pair.copy_from_slice(&secret[SECRET_KEY..SECRET_KEY_END]);
    let key = SigningKey::from_keypair_bytes(&pair).map_err(SignatureError::InconsistentKey)?;

    let signature = key.sign(&Blake2b512::digest(data)).to_bytes();
    let global = key.sign(&[&signature[..], trusted_comment.as_bytes()].concat()).to_bytes();
    let tagged = [PREHASHED, &secret[SECRET_KEY_ID..SECRET_KEY], &signature[..]].concat();
    Ok(format!(
        "{UNTRUSTED_PREFIX}signature of a runq asset bundle\n{}\n{TRUSTED_PREFIX}{trusted_comment}\n{}\n",
        BASE64.encode(tagged),
        BASE64.encode(global)
    ))
}

/// The text of a signature file with one signature for each secret key, in their order.
///
/// # Errors
/// As [`sign`].
pub fn sign_with_all(
    secret_texts: &[String],
    data: &[u8],
    trusted_comment: &str,
) -> Result<String, SignatureError> {
    secret_texts.iter().map(|secret| sign(secret, data, trusted_comment)).collect()
}

/// Checks that one of the keys signed the data. Signatures of minisign's old, not prehashed format are refused, and so is
/// a file in which a trusted key's signature is wrong, whatever else it holds.
///
/// # Errors
/// Names the signers and whom the caller trusts.
pub fn verify(data: &[u8], signature_text: &str, keys: &[PublicKey]) -> Result<Verified, SignatureError> {
    if keys.is_empty() {
        return Err(SignatureError::NoKeys);
    }
    let lines: Vec<&str> = signature_text.lines().collect();
    let count = lines.len() / SIGNATURE_LINES;
    if !lines.len().is_multiple_of(SIGNATURE_LINES) || !(1..=MAX_SIGNATURES).contains(&count) {
        return Err(SignatureError::Malformed(minisign_verify::Error::InvalidEncoding));
    }
    let (mut verified, mut unknown) = (None, Vec::new());
    for block in lines.chunks_exact(SIGNATURE_LINES) {
        match verify_one(data, block, keys)? {
            Ok(one) => verified = verified.or(Some(one)),
            Err(signer) => unknown.push(signer),
        }
    }
    verified.ok_or_else(|| SignatureError::UnknownKey {
        found: unknown,
        trusted: keys.iter().map(|key| key.id).collect(),
    })
}

/// The signer, when it is none of the keys.
fn verify_one(
    data: &[u8],
    lines: &[&str],
    keys: &[PublicKey],
) -> Result<Result<Verified, KeyId>, SignatureError> {
    let signature =
        minisign_verify::Signature::decode(&lines.join("\n")).map_err(SignatureError::Malformed)?;
    let found = KeyId::of(lines.get(1).copied().unwrap_or_default())?;
    let Some(key) = keys.iter().find(|key| key.id == found) else { return Ok(Err(found)) };
    key.key
        .verify(data, &signature, false)
        .map_err(|source| SignatureError::Mismatch { key: found, source })?;
    Ok(Ok(Verified { key: found, trusted_comment: signature.trusted_comment().to_owned() }))
}

impl PublicKey {
    /// From the text of a `.pub` file, or from its base64 line alone.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, SignatureError> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let line = lines.find(|line| !line.starts_with(UNTRUSTED_PREFIX)).unwrap_or_default();
        let key = minisign_verify::PublicKey::from_base64(line).map_err(SignatureError::PublicKey)?;
        Ok(Self { key, id: KeyId::of(line)? })
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }
}

impl KeyId {
    /// In keys as in signatures the number follows two bytes that name the algorithm.
    fn of(base64_line: &str) -> Result<Self, SignatureError> {
        let malformed = || SignatureError::Malformed(minisign_verify::Error::InvalidEncoding);
        let bytes = BASE64.decode(base64_line).ok().ok_or_else(malformed)?;
        let id = bytes.get(2..2 + KEY_ID_BYTES).and_then(|id| id.try_into().ok()).ok_or_else(malformed)?;
        Ok(Self(id))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", u64::from_le_bytes(self.0))
    }
}

fn list(keys: &[KeyId]) -> String {
    keys.iter().map(KeyId::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[path = "signature/tests.rs"]
mod tests;
