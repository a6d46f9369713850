//! Keys made on the spot, and texts that they sign.

use pgp::composed::{
    ArmorOptions, CleartextSignedMessage, EncryptionCaps, KeyType, SecretKeyParamsBuilder, SignedSecretKey,
    SubkeyParamsBuilder,
};
use pgp::packet::{SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::types::{Duration, KeyDetails, Password, Timestamp};
use rand::thread_rng;

/// A primary key that certifies and a subkey that signs, as archives have them.
pub(crate) fn key() -> SignedSecretKey {
    let mut subkey = SubkeyParamsBuilder::default();
    subkey.key_type(KeyType::Ed25519Legacy).can_sign(true).can_encrypt(EncryptionCaps::None);
    let mut key = SecretKeyParamsBuilder::default();
    key.key_type(KeyType::Ed25519Legacy)
        .can_certify(true)
        .can_sign(false)
        .primary_user_id("Archive <archive@example.org>".to_owned())
        .subkeys(vec![subkey.build().unwrap()]);
    key.build().unwrap().generate(thread_rng()).unwrap()
}

/// Signs a text by the subkey, for a time or for good.
pub(crate) fn sign(key: &SignedSecretKey, text: &str, lifetime: Option<Duration>) -> String {
    let subkey = &key.secret_subkeys[0].key;
    let mut config = SignatureConfig::from_key(thread_rng(), subkey, SignatureType::Text).unwrap();
    let created = SubpacketData::SignatureCreationTime(Timestamp::now());
    let data = [Some(created), lifetime.map(SubpacketData::SignatureExpirationTime)];
    let issuer = SubpacketData::IssuerFingerprint(subkey.fingerprint());
    config.hashed_subpackets =
        data.into_iter().flatten().chain([issuer]).map(|data| Subpacket::regular(data).unwrap()).collect();
    let message = CleartextSignedMessage::new(text, config, subkey, &Password::empty()).unwrap();
    message.to_armored_string(ArmorOptions::default()).unwrap()
}
