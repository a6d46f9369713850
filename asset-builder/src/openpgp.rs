//! Clear-signed text: what a pinned OpenPGP key signed, and nothing beside it. Runs on the build machine; trusts the
//! fingerprints that the recipe pins, and of the key files only what those keys bound to themselves.

mod signer;

use pgp::composed::{CleartextSignedMessage, Deserializable, SignedPublicKey};
use pgp::packet::Signature;
use pgp::types::{KeyDetails, Timestamp};
use signer::signer;

const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const END: &str = "-----END PGP SIGNATURE-----";

/// Why a text is not believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenPgpError {
    /// A key file is damaged.
    #[error("cannot read the OpenPGP keys")]
    Keys(#[source] Box<pgp::errors::Error>),
    /// No key file has the key.
    #[error("key {fingerprint} is pinned, but no key file has it")]
    MissingKey {
        /// From the recipe.
        fingerprint: String,
    },
    /// Text around the signed message, which other programs tolerate.
    #[error("there is text before or after the signed message")]
    Wrapped,
    /// Not a clear-signed message.
    #[error("not a clear-signed message")]
    Malformed(#[source] Box<pgp::errors::Error>),
    /// Nobody whom we trust signed this text.
    #[error("no good signature: {}; pinned are {}", found.join(", "), pinned.join(", "))]
    NoGoodSignature {
        /// Of each signature, by whom it claims to be and why it does not count.
        found: Vec<String>,
        /// Primary keys of the recipe.
        pinned: Vec<String>,
    },
}

/// A text that a pinned key signed.
#[derive(Debug)]
pub(crate) struct Signed {
    /// What was hashed: dash escapes undone, lines without trailing white space, ended by CR LF.
    pub(crate) text: String,
    /// Fingerprint of the pinned primary key.
    pub(crate) signer: String,
}

/// The keys that the recipe pins, complete with their subkeys.
pub(crate) struct PinnedKeys(Vec<SignedPublicKey>);

impl PinnedKeys {
    /// Finds the pinned primary keys in armored key files.
    pub(crate) fn select(key_files: &[&str], fingerprints: &[String]) -> Result<Self, OpenPgpError> {
        let mut known = Vec::new();
        for file in key_files {
            let (keys, _) = SignedPublicKey::from_armor_many(file.as_bytes()).map_err(keys_error)?;
            for key in keys {
                known.push(key.map_err(keys_error)?);
            }
        }
        let pinned = fingerprints.iter().map(|fingerprint| {
            let key = known.iter().find(|key| fingerprint_of(*key).eq_ignore_ascii_case(fingerprint));
            key.cloned().ok_or_else(|| OpenPgpError::MissingKey { fingerprint: fingerprint.clone() })
        });
        Ok(Self(pinned.collect::<Result<_, _>>()?))
    }

    /// The signed text, when one signature by a pinned key (or a signing subkey of one) is good at this time.
    pub(crate) fn verify(&self, message: &str, now: Timestamp) -> Result<Signed, OpenPgpError> {
        let message = message.trim_end();
        if !message.starts_with(BEGIN) || !message.ends_with(END) || message.matches(END).count() != 1 {
            return Err(OpenPgpError::Wrapped);
        }
        let (message, _) = CleartextSignedMessage::from_string(message)
            .map_err(|source| OpenPgpError::Malformed(Box::new(source)))?;
        let text = message.signed_text();
        let mut found = Vec::new();
        for signature in message.signatures() {
            match signer(&self.0, signature, &text, now) {
                Ok(key) => return Ok(Signed { text, signer: fingerprint_of(key) }),
                Err(refusal) => found.push(format!("by {}: {refusal}", issuer(signature))),
            }
        }
        Err(OpenPgpError::NoGoodSignature { found, pinned: self.0.iter().map(fingerprint_of).collect() })
    }
}

fn fingerprint_of(key: &impl KeyDetails) -> String {
    format!("{:X}", key.fingerprint())
}

fn issuer(signature: &Signature) -> String {
    match signature.issuer_fingerprint().first() {
        Some(fingerprint) => format!("{fingerprint:X}"),
        None => {
            signature.issuer_key_id().first().map_or_else(|| "an unnamed key".to_owned(), |id| id.to_string())
        }
    }
}

fn keys_error(source: pgp::errors::Error) -> OpenPgpError {
    OpenPgpError::Keys(Box::new(source))
}

#[cfg(test)]
pub(crate) mod fixture;

#[cfg(test)]
#[path = "openpgp/tests.rs"]
mod tests;
