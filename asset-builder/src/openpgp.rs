//! Clear-signed text: what a pinned OpenPGP key signed, and nothing beside it. Runs on the build machine; trusts the
//! fingerprints that the recipe pins, and of the key files only what those keys bound to themselves.

use pgp::composed::{CleartextSignedMessage, Deserializable, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType};
use pgp::types::{KeyDetails, Tag, Timestamp, VerifyingKey};

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
    #[error("no good signature: it is by {}, pinned are {}", found.join(", "), pinned.join(", "))]
    NoGoodSignature {
        /// Issuers, as the signatures claim.
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
        let signer = |signature: &Signature| {
            let mut keys = self.0.iter().filter(|_| is_acceptable(signature, now));
            keys.find(|key| signed_by(key, signature, &text, now)).map(fingerprint_of)
        };
        if let Some(signer) = message.signatures().iter().find_map(signer) {
            return Ok(Signed { text, signer });
        }
        Err(OpenPgpError::NoGoodSignature {
            found: message.signatures().iter().map(issuer).collect(),
            pinned: self.0.iter().map(fingerprint_of).collect(),
        })
    }
}

/// Of a kind that signs text, with a digest that holds, and not expired.
fn is_acceptable(signature: &Signature, now: Timestamp) -> bool {
    let kind = matches!(signature.typ(), Some(SignatureType::Text | SignatureType::Binary));
    kind && is_strong(signature) && is_current(signature, now)
}

fn is_strong(signature: &Signature) -> bool {
    use HashAlgorithm::{Sha3_256, Sha3_512, Sha256, Sha384, Sha512};
    matches!(signature.hash_alg(), Some(Sha256 | Sha384 | Sha512 | Sha3_256 | Sha3_512))
}

fn is_current(signature: &Signature, now: Timestamp) -> bool {
    let Some(created) = signature.created() else { return false };
    let lifetime = signature.signature_expiration_time().map(|duration| duration.as_secs());
    is_within(created, lifetime, now)
}

/// A lifetime of zero seconds, like none, has no end.
fn is_within(created: Timestamp, lifetime_secs: Option<u32>, now: Timestamp) -> bool {
    match lifetime_secs {
        None | Some(0) => true,
        Some(secs) => u64::from(now.as_secs()) < u64::from(created.as_secs()) + u64::from(secs),
    }
}

/// The primary key or a subkey of it made the signature, and was allowed to.
fn signed_by(key: &SignedPublicKey, signature: &Signature, text: &str, now: Timestamp) -> bool {
    let primary = &key.primary_key;
    let revocations = &key.details.revocation_signatures;
    if revocations.iter().any(|revocation| revocation.verify_key(primary).is_ok()) {
        return false;
    }
    let Some(self_signature) = newest(self_signatures(key), now) else { return false };
    if !key_is_current(primary, self_signature, now) {
        return false;
    }
    let text = text.as_bytes();
    let by_primary = || self_signature.key_flags().sign() && signature.verify(primary, text).is_ok();
    let by_subkey = |subkey: &SignedPublicSubKey| {
        may_sign(primary, subkey, now) && signature.verify(&subkey.key, text).is_ok()
    };
    by_primary() || key.public_subkeys.iter().any(by_subkey)
}

/// What the primary key says about itself: direct signatures and certifications of its user ids.
fn self_signatures(key: &SignedPublicKey) -> impl Iterator<Item = &Signature> {
    let primary = &key.primary_key;
    let direct =
        key.details.direct_signatures.iter().filter(|signature| signature.verify_key(primary).is_ok());
    let users = key.details.users.iter().flat_map(|user| {
        let good = |signature: &&Signature| {
            signature.is_certification()
                && signature.verify_certification(primary, Tag::UserId, &user.id).is_ok()
        };
        user.signatures.iter().filter(good)
    });
    direct.chain(users)
}

fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>, now: Timestamp) -> Option<&'a Signature> {
    signatures
        .filter(|signature| is_strong(signature) && is_current(signature, now))
        .max_by_key(|signature| signature.created().map(Timestamp::as_secs))
}

fn key_is_current(key: &impl KeyDetails, binding: &Signature, now: Timestamp) -> bool {
    is_within(key.created_at(), binding.key_expiration_time().map(|duration| duration.as_secs()), now)
}

/// Bound by the primary key as a signing key, and bound back by itself; not revoked, not expired.
fn may_sign(
    primary: &(impl VerifyingKey + pgp::ser::Serialize),
    subkey: &SignedPublicSubKey,
    now: Timestamp,
) -> bool {
    let (revocations, bindings): (Vec<_>, Vec<_>) = subkey
        .signatures
        .iter()
        .filter(|signature| signature.verify_subkey_binding(primary, &subkey.key).is_ok())
        .partition(|signature| signature.typ() == Some(SignatureType::SubkeyRevocation));
    let Some(binding) = newest(bindings.into_iter(), now) else { return false };
    let bound_back = binding
        .embedded_signature()
        .is_some_and(|back| is_strong(back) && back.verify_primary_key_binding(&subkey.key, primary).is_ok());
    revocations.is_empty()
        && binding.key_flags().sign()
        && bound_back
        && key_is_current(&subkey.key, binding, now)
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
#[path = "openpgp/tests.rs"]
mod tests;
