//! The Ubuntu recipe, against the test's archive in Ubuntu's layout: what is built from it boots. Needs the sandbox.

use anyhow::{Context, Result};
use runq_tests::assets::Build;
use runq_tests::bed::Bed;
use runq_tests::bundle::Bundle;
use runq_tests::http_server::Answer;
use runq_tests::ubuntu_archive::UbuntuArchive;
use runq_tests::workspace;

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn bundle_of_the_ubuntu_recipe_boots() -> Result<()> {
    let archive = UbuntuArchive::serve()?;
    let build = Build::new(&archive.recipe(&archive.fingerprint)?, &archive.mirror())?;
    // A mirror in the middle of a synchronisation: the index is not there by its hash, and its name has other bytes,
    // until InRelease is read again.
    let (by_hash, by_name) = archive.suite("noble")?.main_index()?;
    archive.server.answer(&by_hash, [Answer::Status(404), Answer::Status(404)]);
    let good = archive.suite("noble")?.files()?.into_iter().find(|(path, _)| *path == by_name);
    let (_, good) = good.context("no index")?;
    archive.server.answer(&by_name, [Answer::Body(b"of tomorrow".to_vec()), Answer::Body(good)]);

    let finished = build.run()?;
    assert_eq!(finished.code, 0, "{}", finished.stderr_text());
    let requests = archive.server.requests();
    let asked = |path: &str| requests.iter().filter(|request| request.path == path).count();
    assert_eq!(asked(&archive.suite("noble")?.path("InRelease")), 2, "InRelease is read again");
    assert_eq!((asked(&by_hash), asked(&by_name)), (2, 2));

    let key = workspace::target().join("keys/sandbox.pub");
    let bundle = Bundle { file: build.output(), public_key: key };
    let bed = Bed::alone()?;
    let installed = bed.sandbox.install_beside(&bundle, "runq-ubuntu")?;
    let kernel =
        bed.container().runtime(&installed.runtime).shell_output("uname -r; cat /proc/modules | wc -l")?;
    assert!(kernel.contains("amd64"), "{kernel}");
    Ok(())
}
