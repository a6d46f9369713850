//! Tests of clear-signed text, with keys made on the spot.

use super::fixture::{self, key};
use super::signer::Refusal;
use super::*;
use pgp::composed::{ArmorOptions, SignedSecretKey};
use pgp::packet::{SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::types::{Duration, Password};
use rand::thread_rng;

const TEXT: &str = "Suite: noble\n- dashed\n-----not a header\nPadded: yes\nDate: today\n";
const SIGNED: &str = "Suite: noble\r\n- dashed\r\n-----not a header\r\nPadded: yes\r\nDate: today\r\n";

fn sign(key: &SignedSecretKey, lifetime: Option<Duration>) -> String {
    fixture::sign(key, TEXT, lifetime)
}

fn pinned(key: SignedPublicKey) -> PinnedKeys {
    let fingerprint = fingerprint_of(&key).to_lowercase();
    let file = key.to_armored_string(ArmorOptions::default()).unwrap();
    PinnedKeys::select(&[&file], &[fingerprint]).unwrap()
}

fn public(key: &SignedSecretKey) -> SignedPublicKey {
    SignedPublicKey::from(key.clone())
}

#[test]
fn gives_the_text_that_a_signing_subkey_of_a_pinned_key_signed() {
    let key = key();
    // White space at the end of a line is not signed, and not part of the text.
    let message = sign(&key, None).replace("Padded: yes", "Padded: yes \t");
    let signed = pinned(public(&key)).verify(&message, Timestamp::now()).unwrap();
    assert_eq!(signed.text, SIGNED);
}

#[test]
fn refuses_altered_text() {
    let key = key();
    let message = sign(&key, None).replace("noble", "mantic");
    let error = pinned(public(&key)).verify(&message, Timestamp::now()).unwrap_err();
    assert!(matches!(error, OpenPgpError::NoGoodSignature { .. }));
}

#[test]
fn refuses_text_around_the_message() {
    let key = key();
    let message = sign(&key, None);
    let keys = pinned(public(&key));
    for wrapped in [
        format!("Suite: evil\n\n{message}"),
        format!("{message}\nSuite: evil\n"),
        format!("{message}{message}"),
        format!("Suite: evil\n{END}\n"),
    ] {
        assert!(matches!(keys.verify(&wrapped, Timestamp::now()), Err(OpenPgpError::Wrapped)), "{wrapped}");
    }
    keys.verify(&format!("{message}\n\n"), Timestamp::now()).unwrap();
}

#[test]
fn names_the_signer_and_the_pinned_keys_when_they_differ() {
    let (signer, other) = (key(), key());
    let error =
        pinned(public(&other)).verify(&sign(&signer, None), Timestamp::now()).unwrap_err().to_string();
    let subkey = fingerprint_of(&signer.secret_subkeys[0].key);
    let expected = format!(
        "no good signature: by {subkey}: the key is not pinned; pinned are {}",
        fingerprint_of(&public(&other))
    );
    assert_eq!(error, expected);
    let missing = PinnedKeys::select(&[], &["AB".to_owned()]);
    assert!(matches!(missing, Err(OpenPgpError::MissingKey { .. })));
}

#[test]
fn refuses_expired_signatures() {
    let key = key();
    let keys = pinned(public(&key));
    let message = sign(&key, Some(Duration::from_secs(600)));
    keys.verify(&message, Timestamp::now()).unwrap();
    refused(
        &keys,
        &message,
        Timestamp::from_secs(Timestamp::now().as_secs() + 700),
        Refusal::SignatureExpired,
    );
}

/// Made by GnuPG, as the library refuses to make the weak one.
#[test]
fn refuses_weak_digests() {
    let fingerprint = "18C077A86F386877248188CB1FFE0D376F198A4C".to_owned();
    let keys = PinnedKeys::select(&[include_str!("fixtures/rsa.asc")], &[fingerprint]).unwrap();
    keys.verify(include_str!("fixtures/sha256.asc"), Timestamp::now()).unwrap();
    let found = "SHA1".to_owned();
    refused(&keys, include_str!("fixtures/sha1.asc"), Timestamp::now(), Refusal::WeakDigest { found });
}

#[test]
fn refuses_a_subkey_that_another_key_bound() {
    let (key, attacker) = (key(), key());
    let mut mixed = public(&key);
    mixed.public_subkeys = public(&attacker).public_subkeys;
    refused(&pinned(mixed), &sign(&attacker, None), Timestamp::now(), Refusal::Unbound);
}

#[test]
fn refuses_a_revoked_subkey() {
    let key = key();
    let mut revoked = public(&key);
    let mut config =
        SignatureConfig::from_key(thread_rng(), &key.primary_key, SignatureType::SubkeyRevocation).unwrap();
    config.hashed_subpackets =
        vec![Subpacket::regular(SubpacketData::SignatureCreationTime(Timestamp::now())).unwrap()];
    let subkey = &mut revoked.public_subkeys[0];
    let revocation =
        config.sign_subkey_binding(&key.primary_key, &revoked.primary_key, &Password::empty(), &subkey.key);
    subkey.signatures.push(revocation.unwrap());
    refused(&pinned(revoked), &sign(&key, None), Timestamp::now(), Refusal::KeyRevoked);
}

#[test]
fn a_primary_key_may_sign_only_when_it_says_so() {
    let key = key();
    let message =
        CleartextSignedMessage::sign(thread_rng(), TEXT, &key.primary_key, &Password::empty()).unwrap();
    let message = message.to_armored_string(ArmorOptions::default()).unwrap();
    refused(&pinned(public(&key)), &message, Timestamp::now(), Refusal::NotForSigning);
}

#[test]
fn refuses_a_revoked_primary_key() {
    let key = key();
    let mut revoked = public(&key);
    let mut config =
        SignatureConfig::from_key(thread_rng(), &key.primary_key, SignatureType::KeyRevocation).unwrap();
    config.hashed_subpackets =
        vec![Subpacket::regular(SubpacketData::SignatureCreationTime(Timestamp::now())).unwrap()];
    let revocation = config.sign_key(&key.primary_key, &Password::empty(), &revoked.primary_key).unwrap();
    revoked.details.revocation_signatures.push(revocation);
    refused(&pinned(revoked), &sign(&key, None), Timestamp::now(), Refusal::KeyRevoked);
}

#[test]
fn refuses_an_expired_subkey() {
    let key = key();
    let mut expiring = public(&key);
    let subkey = &mut expiring.public_subkeys[0];
    let mut config =
        SignatureConfig::from_key(thread_rng(), &key.primary_key, SignatureType::SubkeyBinding).unwrap();
    let old = subkey.signatures[0].config().unwrap();
    config.hashed_subpackets = old.hashed_subpackets.clone();
    let lifetime = SubpacketData::KeyExpirationTime(Duration::from_secs(600));
    config.hashed_subpackets.push(Subpacket::regular(lifetime).unwrap());
    let binding =
        config.sign_subkey_binding(&key.primary_key, &expiring.primary_key, &Password::empty(), &subkey.key);
    subkey.signatures = vec![binding.unwrap()];
    let keys = pinned(expiring);
    let message = sign(&key, None);
    keys.verify(&message, Timestamp::now()).unwrap();
    refused(&keys, &message, Timestamp::from_secs(Timestamp::now().as_secs() + 700), Refusal::KeyExpired);
}

/// The one signature of a message is refused for this reason.
fn refused(keys: &PinnedKeys, message: &str, now: Timestamp, reason: Refusal) {
    let error = keys.verify(message, now).err().unwrap();
    let OpenPgpError::NoGoodSignature { found, .. } = error else { panic!("{error}") };
    assert_eq!(found.len(), 1);
    assert!(found[0].ends_with(&format!(": {reason}")), "{found:?}, expected {reason}");
}
