//! Whether a signature counts: made by a pinned key or a signing subkey of one, with a digest that holds, while nothing had
//! expired or was revoked. Runs on the build machine; trusts the pinned keys, and of a subkey what its primary key says.

use pgp::composed::{SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType};
use pgp::types::{KeyDetails, Tag, Timestamp};

/// Why a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the key is not pinned")]
    UnknownKey,
    #[error("it does not sign text")]
    Kind,
    #[error("its digest is {found}, which is too weak")]
    WeakDigest { found: String },
    #[error("the signature expired")]
    SignatureExpired,
    #[error("the key is revoked")]
    KeyRevoked,
    #[error("the key expired")]
    KeyExpired,
    #[error("the key is not for signing")]
    NotForSigning,
    #[error("the subkey is not bound to the pinned key")]
    Unbound,
    #[error("the text is not what was signed")]
    Altered,
}

/// The pinned key whose signature this is.
pub(super) fn signer<'a>(
    pinned: &'a [SignedPublicKey],
    signature: &Signature,
    text: &str,
    now: Timestamp,
) -> Result<&'a SignedPublicKey, Refusal> {
    if !matches!(signature.typ(), Some(SignatureType::Text | SignatureType::Binary)) {
        return Err(Refusal::Kind);
    }
    let mut refusal = Refusal::UnknownKey;
    for key in pinned {
        match signed_by(key, signature, text, now) {
            Ok(()) => return Ok(key),
            Err(Refusal::UnknownKey) => {}
            Err(found) => refusal = found,
        }
    }
    Err(refusal)
}

/// The primary key or a subkey of it is the issuer, was allowed to sign, and made the signature.
fn signed_by(
    key: &SignedPublicKey,
    signature: &Signature,
    text: &str,
    now: Timestamp,
) -> Result<(), Refusal> {
    let primary = &key.primary_key;
    let is_primary = is_issuer(signature, primary);
    let subkeys: Vec<_> =
        key.public_subkeys.iter().filter(|subkey| is_issuer(signature, &subkey.key)).collect();
    if !is_primary && subkeys.is_empty() {
        return Err(Refusal::UnknownKey);
    }
    if !is_strong(signature) {
        let found = signature.hash_alg().map_or_else(|| "unknown".to_owned(), |digest| digest.to_string());
        return Err(Refusal::WeakDigest { found });
    }
    if !is_current(signature, now) {
        return Err(Refusal::SignatureExpired);
    }
    let revocations = &key.details.revocation_signatures;
    if revocations.iter().any(|revocation| revocation.verify_key(primary).is_ok()) {
        return Err(Refusal::KeyRevoked);
    }
    let self_signature = newest(self_signatures(key), now).ok_or(Refusal::KeyExpired)?;
    if !key_is_current(primary, self_signature, now) {
        return Err(Refusal::KeyExpired);
    }
    let text = text.as_bytes();
    if is_primary {
        if !self_signature.key_flags().sign() {
            return Err(Refusal::NotForSigning);
        }
        return signature.verify(primary, text).or(Err(Refusal::Altered));
    }
    let by_subkey = |subkey: &&SignedPublicSubKey| {
        may_sign(key, subkey, now)?;
        signature.verify(&subkey.key, text).or(Err(Refusal::Altered))
    };
    subkeys.iter().map(by_subkey).reduce(Result::or).unwrap_or(Err(Refusal::UnknownKey))
}

/// Whom the signature claims to be by; without a claim nobody.
fn is_issuer(signature: &Signature, key: &impl KeyDetails) -> bool {
    let fingerprints = signature.issuer_fingerprint();
    if fingerprints.is_empty() {
        return signature.issuer_key_id().contains(&&key.legacy_key_id());
    }
    fingerprints.contains(&&key.fingerprint())
}

/// Bound by the primary key as a signing key, and bound back by itself; not revoked, not expired.
fn may_sign(key: &SignedPublicKey, subkey: &SignedPublicSubKey, now: Timestamp) -> Result<(), Refusal> {
    let primary = &key.primary_key;
    let (revocations, bindings): (Vec<_>, Vec<_>) = subkey
        .signatures
        .iter()
        .filter(|signature| signature.verify_subkey_binding(primary, &subkey.key).is_ok())
        .partition(|signature| signature.typ() == Some(SignatureType::SubkeyRevocation));
    if !revocations.is_empty() {
        return Err(Refusal::KeyRevoked);
    }
    let binding = newest(bindings.into_iter(), now).ok_or(Refusal::Unbound)?;
    if !key_is_current(&subkey.key, binding, now) {
        return Err(Refusal::KeyExpired);
    }
    if !binding.key_flags().sign() {
        return Err(Refusal::NotForSigning);
    }
    let bound_back = binding
        .embedded_signature()
        .is_some_and(|back| is_strong(back) && back.verify_primary_key_binding(&subkey.key, primary).is_ok());
    if bound_back { Ok(()) } else { Err(Refusal::Unbound) }
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
