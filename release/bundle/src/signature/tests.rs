//! Tests of signing and verification; the ignored one needs the `minisign` program.

use super::*;
use std::path::Path;
use std::process::Command;

fn key(pair: &KeyPair) -> PublicKey {
    PublicKey::parse(&pair.public).unwrap()
}

#[test]
fn a_signature_is_good_for_its_data_and_key_only() {
    let (ours, other) = (keygen().unwrap(), keygen().unwrap());
    let text = sign(&ours.secret, b"data", "runq 1.0.0").unwrap();

    let verified = verify(b"data", &text, &[key(&other), key(&ours)]).unwrap();
    assert_eq!(verified.trusted_comment, "runq 1.0.0");
    assert_eq!(verified.key, key(&ours).id());

    assert!(matches!(verify(b"Data", &text, &[key(&ours)]), Err(SignatureError::Mismatch { .. })));
    assert!(matches!(verify(b"data", &text, &[key(&other)]), Err(SignatureError::UnknownKey { .. })));
    assert!(matches!(verify(b"data", &text, &[]), Err(SignatureError::NoKeys)));
}

#[test]
fn the_trusted_comment_is_covered() {
    let pair = keygen().unwrap();
    let text = sign(&pair.secret, b"data", "sequence 1").unwrap().replace("sequence 1", "sequence 2");
    assert!(matches!(verify(b"data", &text, &[key(&pair)]), Err(SignatureError::Mismatch { .. })));
}

#[test]
fn the_same_input_gives_the_same_signature() {
    let pair = keygen().unwrap();
    let sign = || sign(&pair.secret, b"data", "comment").unwrap();
    assert_eq!(sign(), sign());
}

#[test]
fn refuses_the_old_format_that_is_not_prehashed() {
    let pair = keygen().unwrap();
    let text = sign(&pair.secret, b"data", "comment").unwrap().replace("\nRU", "\nRW");
    assert!(matches!(verify(b"data", &text, &[key(&pair)]), Err(SignatureError::Mismatch { .. })));
}

#[test]
fn one_trusted_signature_of_several_is_enough() {
    let (old, new, other) = (keygen().unwrap(), keygen().unwrap(), keygen().unwrap());
    let secrets = [old.secret.clone(), new.secret.clone()];
    let text = sign_with_all(&secrets, b"data", "runq 1.0.0").unwrap();
    for trusted in
        [vec![key(&old)], vec![key(&new)], vec![key(&other), key(&new)], vec![key(&old), key(&new)]]
    {
        verify(b"data", &text, &trusted).unwrap();
        assert!(matches!(verify(b"Data", &text, &trusted), Err(SignatureError::Mismatch { .. })));
    }
    let Err(SignatureError::UnknownKey { found, .. }) = verify(b"data", &text, &[key(&other)]) else {
        panic!("signed by nobody who is trusted")
    };
    assert_eq!(found, [key(&old).id(), key(&new).id()]);

    // A wrong signature is not made good by a right one beside it.
    let wrong = sign(&new.secret, b"other data", "runq 1.0.0").unwrap();
    let mixed = format!("{}{wrong}", sign(&old.secret, b"data", "runq 1.0.0").unwrap());
    assert!(verify(b"data", &mixed, &[key(&old), key(&new)]).is_err());
    verify(b"data", &mixed, &[key(&old)]).unwrap();
    assert!(verify(b"data", &text.repeat(MAX_SIGNATURES), &[key(&old)]).is_err());
}

#[test]
fn a_public_key_is_read_from_its_file_or_its_line() {
    let pair = keygen().unwrap();
    let line = pair.public.lines().nth(1).unwrap();
    assert_eq!(PublicKey::parse(line).unwrap(), key(&pair));
    assert!(pair.public.contains(&key(&pair).id().to_string()), "{}", pair.public);
    for text in ["", "untrusted comment: x", "RWQ", &pair.secret] {
        assert!(PublicKey::parse(text).is_err(), "{text}");
    }
}

#[test]
fn refuses_garbage() {
    let pair = keygen().unwrap();
    let good = sign(&pair.secret, b"data", "comment").unwrap();
    for text in [
        "",
        "\n\n\n\n",
        &good[..good.len() - 8],
        &good.replace("trusted comment", "comment"),
        &format!("{good}one more line"),
        "<html>404</html>",
    ] {
        assert!(verify(b"data", text, &[key(&pair)]).is_err(), "{text}");
    }
    assert!(matches!(sign("nonsense", b"", ""), Err(SignatureError::SecretKey)));
    assert!(matches!(sign(&pair.secret, b"", "a\nb"), Err(SignatureError::Comment)));
}

fn minisign(directory: &Path, args: &[&str]) {
    let output = Command::new("minisign").current_dir(directory).args(args).output().unwrap();
    assert!(output.status.success(), "minisign {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "needs the program minisign"]
fn works_with_the_real_minisign_both_ways() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
    let read = |name: &str| std::fs::read_to_string(path(name)).unwrap();

    // Ours, read by minisign; the same secret key used by minisign gives the same signature.
    let pair = keygen().unwrap();
    let ours = sign(&pair.secret, b"data", "runq 1.0.0").unwrap();
    write("data", "data");
    write("our.pub", &pair.public);
    write("our.key", &pair.secret);
    write("data.minisig", &ours);
    minisign(directory.path(), &["-V", "-p", "our.pub", "-m", "data"]);
    minisign(directory.path(), &["-S", "-s", "our.key", "-m", "data", "-t", "runq 1.0.0"]);
    let theirs = read("data.minisig");
    assert_eq!(theirs.lines().skip(1).collect::<Vec<_>>(), ours.lines().skip(1).collect::<Vec<_>>());

    // Of two signatures, minisign reads the first.
    let pair_of_keys = [pair.secret.clone(), keygen().unwrap().secret];
    write("data.minisig", &sign_with_all(&pair_of_keys, b"data", "runq 1.0.0").unwrap());
    minisign(directory.path(), &["-V", "-p", "our.pub", "-m", "data"]);

    // Theirs, read and used by us.
    minisign(directory.path(), &["-G", "-W", "-p", "their.pub", "-s", "their.key"]);
    minisign(directory.path(), &["-S", "-s", "their.key", "-m", "data"]);
    let key = PublicKey::parse(&read("their.pub")).unwrap();
    verify(b"data", &read("data.minisig"), std::slice::from_ref(&key)).unwrap();
    verify(b"more", &sign(&read("their.key"), b"more", "x").unwrap(), &[key]).unwrap();
}
