//! The asset builder believes nothing that is not signed by the pinned key: each link of the chain from key to package
//! is broken once, and each build is refused with an error that names the thing, and leaves nothing. Against the test's
//! Ubuntu archive on loopback; needs neither Docker nor root.

use anyhow::Result;
use runq_tests::assets::Build;
use runq_tests::http_server::Answer;
use runq_tests::open_pgp::Signer;
use runq_tests::ubuntu_archive::{Suite, UbuntuArchive};

/// A build by the recipe that pins the archive's key.
fn build(archive: &UbuntuArchive) -> Result<Build> {
    Build::new(&archive.recipe(&archive.fingerprint)?, &archive.mirror())
}

/// The suite `noble` and its InRelease, as published.
fn signed(archive: &UbuntuArchive) -> Result<(Suite, String)> {
    let suite = archive.suite("noble")?;
    let text = archive.keyring.clear_sign(&suite.release()?, &Signer::now(&archive.fingerprint))?;
    Ok((suite, text))
}

const IN_RELEASE: &str = "/ubuntu/dists/noble/InRelease";

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn altered_in_release_is_refused() -> Result<()> {
    let archive = UbuntuArchive::serve()?;
    let (suite, text) = signed(&archive)?;
    archive.publish_text(&suite, &text.replace("Label: Ubuntu", "Label: Ubunto"));
    build(&archive)?.refuses(&[IN_RELEASE, "no good signature", &archive.fingerprint], &[])
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn text_around_the_signed_part_is_refused() -> Result<()> {
    let archive = UbuntuArchive::serve()?;
    let (suite, text) = signed(&archive)?;
    for wrapped in [format!("Suite: noble\n\n{text}"), format!("{text}\nSHA256:\n"), format!("{text}{text}")]
    {
        archive.publish_text(&suite, &wrapped);
        build(&archive)?.refuses(&[IN_RELEASE, "text before or after the signed message"], &[])?;
    }
    archive.publish_text(&suite, "<html>404, kindly served as 200</html>");
    build(&archive)?.refuses(&[IN_RELEASE], &[])
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn keys_that_are_not_pinned_expired_or_revoked_are_refused() -> Result<()> {
    let archive = UbuntuArchive::serve()?;
    let suite = archive.suite("noble")?;
    let other = archive.keyring.generate("Other <other@runq.test>", "", "never")?;
    archive.publish_signed(&suite, &Signer::now(&other))?;
    build(&archive)?.refuses(&[IN_RELEASE, "no good signature", &other, &archive.fingerprint], &[])?;

    let expired = archive.keyring.generate("Expired <old@runq.test>", "20200101T000000", "1y")?;
    let then = Signer { time: "20200601T000000", ..Signer::now(&expired) };
    archive.publish_signed(&suite, &then)?;
    let recipe = archive.recipe(&expired)?;
    Build::new(&recipe, &archive.mirror())?.refuses(&[IN_RELEASE, &expired], &[])?;

    let revoked = archive.keyring.generate("Revoked <gone@runq.test>", "", "never")?;
    archive.publish_signed(&suite, &Signer::now(&revoked))?;
    archive.keyring.revoke(&revoked)?;
    let recipe = archive.recipe(&revoked)?;
    Build::new(&recipe, &archive.mirror())?.refuses(&[IN_RELEASE, &revoked], &[])
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn weak_digest_is_refused() -> Result<()> {
    let archive = UbuntuArchive::serve()?;
    let weak = Signer { digest: "SHA1", ..Signer::now(&archive.fingerprint) };
    archive.publish_signed(&archive.suite("noble")?, &weak)?;
    build(&archive)?.refuses(&[IN_RELEASE, "no good signature"], &[])
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn suite_that_is_over_or_another_one_is_refused() -> Result<()> {
    let archive = UbuntuArchive::serve()?;
    let mut suite = archive.suite("noble")?;
    suite.fields = "Valid-Until: Sat, 07 Nov 2020 09:15:44 UTC\n".to_owned();
    archive.publish(&suite)?;
    build(&archive)?.refuses(&[IN_RELEASE, "valid until", "07 Nov 2020"], &[])?;

    let text = archive.suite("noble")?.release()?.replace("noble", "jammy");
    let text = archive.keyring.clear_sign(&text, &Signer::now(&archive.fingerprint))?;
    archive.publish_text(&suite, &text);
    build(&archive)?.refuses(&[IN_RELEASE, "jammy", "noble"], &[])
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn altered_packages_file_is_refused() -> Result<()> {
    let archive = UbuntuArchive::serve()?;
    let suite = archive.suite("noble")?;
    let (by_hash, by_name) = suite.main_index()?;
    let files = suite.files()?;
    let good = files.iter().find(|(path, _)| *path == by_hash).map(|(_, content)| content.clone());
    let good = good.unwrap_or_default();
    let mut altered = good.clone();
    altered[100] ^= 1;
    let longer = [&good[..], b"\0"].concat();
    let shorter = good[..good.len() - 1].to_vec();
    for bad in [altered, longer, shorter] {
        archive.server.answer(&by_hash, [Answer::Body(bad.clone())]);
        archive.server.answer(&by_name, [Answer::Body(bad.clone())]);
        build(&archive)?.refuses(&["/ubuntu/dists/noble/main/binary-amd64/"], &[&bad])?;
    }
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn altered_package_is_refused() -> Result<()> {
    let archive = UbuntuArchive::serve()?;
    let path = archive.deb("seabios")?;
    let good = fs_err::read(archive.root().join(path.trim_start_matches('/')))?;
    let mut altered = good.clone();
    altered[good.len() / 2] ^= 1;
    let longer = [&good[..], b"\n"].concat();
    let shorter = good[..good.len() - 1].to_vec();
    let page = b"<html><body>404 Not Found</body></html>\n".to_vec();
    for bad in [altered, longer, shorter, page] {
        archive.server.answer(&path, [Answer::Body(bad.clone())]);
        build(&archive)?.refuses(&[&path], &[&bad])?;
    }
    archive.server.answer(&path, [Answer::Status(404)]);
    build(&archive)?.refuses(&[&path, "404"], &[])
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn package_that_contradicts_its_record_is_refused() -> Result<()> {
    let archive = UbuntuArchive::serve()?;
    let mut suite = archive.suite("noble")?;
    suite.set_field("seabios", "Version", "9.99-1")?;
    archive.publish(&suite)?;
    build(&archive)?.refuses(&["seabios", "9.99-1"], &[])
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn suite_older_than_the_one_seen_last_is_refused() -> Result<()> {
    let archive = UbuntuArchive::serve()?;
    // The build goes as far as the package that is missing, and has seen the suite by then.
    archive.server.answer(&archive.deb("seabios")?, [Answer::Status(404)]);
    let build = build(&archive)?;
    build.refuses(&["seabios"], &[])?;
    let mut suite = archive.suite("noble")?;
    suite.age_secs = 7 * 86_400;
    archive.publish(&suite)?;
    build.refuses(&["noble", "older"], &[])
}
