//! Bundles from a web server and from a registry: each ends as one verified local file, and whatever else a server sends is refused.

use anyhow::{Result, ensure};
use runq_tests::command::{self, Finished};
use runq_tests::http_server::{self, HttpServer};
use runq_tests::https_server::{Answer, HttpsServer};
use runq_tests::installation::{Installation, LIMIT, program};
use runq_tests::registry::Registry;
use runq_tests::small_bundle::SmallBundle;
use runq_tests::workspace;
use std::path::Path;
use std::process::Command;

fn fetch(installation: &Installation, server: &HttpsServer, words: &[&str]) -> Result<Finished> {
    let mut pull = Command::new(program());
    pull.args(words).arg("--public-key").arg(installation.signer.public_key());
    pull.arg("--ca-file").arg(server.ca_file()).arg("--download-dir").arg(installation.path("downloads"));
    command::run(&mut pull, &[], LIMIT)
}

fn is_empty(directory: &Path) -> Result<bool> {
    Ok(!directory.exists() || fs_err::read_dir(directory)?.next().is_none())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_bundle_comes_from_a_web_server_also_in_pieces() -> Result<()> {
    let installation = Installation::new()?;
    let bytes = fs_err::read(installation.bundle("1.0.0"))?;
    let name = format!("/runq-1.0.0-{}.tar.zst", workspace::ARCH);
    let answers = vec![
        ("/whole.tar.zst", Answer::Whole(bytes.clone())),
        ("/cut.tar.zst", Answer::Cut(bytes.clone(), bytes.len() / 3 + 1)),
        (&*name.leak(), Answer::Whole(bytes.clone())),
    ];
    let server = HttpsServer::start(&installation.path(""), answers)?;
    let output = installation.path("pulled.tar.zst");
    let output = output.to_str().unwrap_or_default();
    for path in ["/whole.tar.zst", "/cut.tar.zst"] {
        let finished = fetch(&installation, &server, &["pull", &server.url(path), "-o", output])?;
        ensure!(finished.code == 0, "{path}: {}", finished.stderr_text());
        assert_eq!(fs_err::read(output)?, bytes, "{path}");
        fs_err::remove_file(output)?;
    }
    let third = bytes.len() / 3 + 1;
    let expected = [
        "/whole.tar.zst from 0",
        "/cut.tar.zst from 0",
        &format!("/cut.tar.zst from {third}"),
        &format!("/cut.tar.zst from {}", 2 * third),
    ];
    assert_eq!(server.requests(), expected);

    // A run that was killed has left its part: the next one asks for the rest.
    fs_err::write(format!("{output}.part"), &bytes[..100])?;
    let finished = fetch(&installation, &server, &["pull", &server.url("/whole.tar.zst"), "-o", output])?;
    ensure!(finished.code == 0, "{}", finished.stderr_text());
    assert_eq!(fs_err::read(output)?, bytes);
    assert!(server.requests().contains(&"/whole.tar.zst from 100".to_owned()));

    let prefix = installation.prefix().display().to_string();
    let url = server.url("/whole.tar.zst");
    let finished =
        fetch(&installation, &server, &["install", "--no-docker", "--prefix", &prefix, "--bundle", &url])?;
    ensure!(finished.code == 0, "{}", finished.stderr_text());
    installation.must(&["verify"])?;
    assert!(is_empty(&installation.path("downloads"))?, "the download stays behind");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn what_is_no_bundle_is_refused_by_name_and_not_kept() -> Result<()> {
    let installation = Installation::new()?;
    let bytes = fs_err::read(installation.bundle("1.0.0"))?;
    let mut altered = bytes.clone();
    altered[bytes.len() / 2] ^= 1;
    let html = "<!DOCTYPE html><title>Please log in</title>";
    let answers = vec![
        ("/portal", Answer::Page(200, html)),
        ("/gone", Answer::Page(404, html)),
        ("/altered", Answer::Whole(altered)),
        ("/empty", Answer::Whole(Vec::new())),
    ];
    let server = HttpsServer::start(&installation.path(""), answers)?;
    let directory = installation.path("out");
    fs_err::create_dir(&directory)?;
    for (path, said) in [
        ("/portal", "is not an asset bundle: it begins with \"<!DOCTYPE html>"),
        ("/gone", "the server answers 404"),
        ("/nothing", "the server answers 404"),
        ("/altered", "cannot verify https://"),
        ("/empty", "is not an asset bundle"),
    ] {
        let output = directory.join("b.tar.zst").display().to_string();
        let finished = fetch(&installation, &server, &["pull", &server.url(path), "-o", &output])?;
        assert_eq!(finished.code, 125, "{path}: {finished:?}");
        assert!(finished.stderr_text().contains(said), "{path}: {}", finished.stderr_text());
        assert!(is_empty(&directory)?, "{path} left something");

        let prefix = installation.prefix().display().to_string();
        let url = server.url(path);
        let finished = fetch(
            &installation,
            &server,
            &["install", "--no-docker", "--prefix", &prefix, "--bundle", &url],
        )?;
        assert_eq!(finished.code, 125, "{path}: {finished:?}");
        assert!(!installation.prefix().join("current").exists(), "{path} was installed");
        assert!(is_empty(&installation.path("downloads"))?, "{path} left something");
    }
    // Without its authority the server is nobody.
    let mut pull = Command::new(program());
    pull.args(["pull", &server.url("/altered"), "-o"]).arg(directory.join("b")).arg("--public-key");
    let finished = command::run(pull.arg(installation.signer.public_key()), &[], LIMIT)?;
    assert_eq!(finished.code, 125);
    assert!(finished.stderr_text().contains("--ca-file"), "{}", finished.stderr_text());
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_registry_gives_each_platform_its_bundle() -> Result<()> {
    let installation = Installation::new()?;
    let registry = Registry::start()?;
    let target = format!("oci://{}/some/runq:1.0.0", registry.address());
    let mut foreign = SmallBundle::new("1.0.0", 10);
    foreign.arch = "s390x".into();
    let foreign = foreign.write(&installation.path(""), &installation.signer)?;
    let mut push = Command::new(workspace::dist().join("runq-assets"));
    push.arg("push").arg(installation.bundle("1.0.0")).arg(&foreign).arg(&target).arg("--public-key");
    let pushed = command::output(push.arg(installation.signer.public_key()), LIMIT)?;
    assert!(pushed.starts_with(&format!("{target}@sha256:")), "{pushed}");

    let output = installation.path("pulled.tar.zst");
    for (arch, bundle) in [(workspace::ARCH, installation.bundle("1.0.0")), ("s390x", foreign)] {
        let mut pull = Command::new(program());
        pull.args(["pull", &target, "--arch", arch, "-o"]).arg(&output).arg("--public-key");
        command::output(pull.arg(installation.signer.public_key()), LIMIT)?;
        assert_eq!(fs_err::read(&output)?, fs_err::read(bundle)?, "{arch}");
    }
    // By digest, taking up what a killed run has left, straight into an installation.
    let by_digest = pushed.replace(":1.0.0@", "@");
    fs_err::write(output.with_extension("zst.part"), &fs_err::read(&output)?[..500])?;
    let mut pull = Command::new(program());
    pull.args(["pull", &by_digest, "--arch", "s390x", "-o"]).arg(&output).arg("--public-key");
    command::output(pull.arg(installation.signer.public_key()), LIMIT)?;
    let mut install = Command::new(program());
    install.args(["install", "--no-docker", "--bundle", &target, "--prefix"]).arg(installation.prefix());
    install.arg("--download-dir").arg(installation.path("downloads")).arg("--public-key");
    command::output(install.arg(installation.signer.public_key()), LIMIT)?;
    installation.must(&["verify"])?;

    let mut pull = Command::new(program());
    pull.args(["pull", &target, "--arch", "riscv64", "-o"]).arg(&output).arg("--public-key");
    let finished = command::run(pull.arg(installation.signer.public_key()), &[], LIMIT)?;
    assert_eq!(finished.code, 125);
    let said = format!("has no bundle for riscv64, but for {}, s390x", workspace::ARCH);
    assert!(finished.stderr_text().contains(&said), "{}", finished.stderr_text());

    let skopeo = |words: &[&str]| {
        let mut skopeo = Command::new("skopeo");
        let image = target.replace("oci://", "docker://");
        command::output(skopeo.args(words).args(["--tls-verify=false", &image]), LIMIT)
    };
    let index: serde_json::Value = serde_json::from_str(&skopeo(&["inspect", "--raw"])?)?;
    assert_eq!(index["manifests"][1]["platform"]["architecture"], "s390x");
    let image: serde_json::Value = serde_json::from_str(&skopeo(&["--override-arch", "s390x", "inspect"])?)?;
    assert_eq!(image["Architecture"], "s390x");
    assert_eq!(image["Layers"].as_array().map(Vec::len), Some(1));
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_registry_that_never_ends_costs_bounded_memory() -> Result<()> {
    let installation = Installation::new()?;
    let server = HttpServer::start(&installation.path(""))?;
    server.answer("/v2/", [http_server::Answer::Status(200)]);
    server.answer("/v2/runq/manifests/latest", [http_server::Answer::Endless]);
    let peak = installation.path("peak");
    let mut pull = Command::new("/usr/bin/time");
    pull.args(["-q", "-f", "%M", "-o"]).arg(&peak).arg(program()).args(["pull", "--public-key"]);
    pull.arg(installation.signer.public_key()).arg("-o").arg(installation.path("pulled.tar.zst"));
    let url = server.url().replace("http://", "oci://");
    let finished = command::run(pull.arg(format!("{url}/runq:latest")), &[], LIMIT)?;
    ensure!(finished.code != 0 && finished.stderr_text().contains("memory allocation"), "{finished:?}");
    let peak_kib: u64 = fs_err::read_to_string(&peak)?.trim().parse()?;
    ensure!(peak_kib < 600 << 10, "{peak_kib} KiB");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_local_install_opens_no_socket_but_dockers() -> Result<()> {
    let installation = Installation::new()?;
    let log = installation.path("sockets.log");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-q", "-e", "trace=socket,connect,bind", "-o"]).arg(&log).arg("--").arg(program());
    command::output(strace.args(installation.arguments(&["install", "1.0.0"])), LIMIT)?;
    let text = fs_err::read_to_string(&log)?;
    let sockets: Vec<&str> = text.lines().filter(|line| line.contains("socket(")).collect();
    assert!(sockets.iter().all(|line| line.contains("socket(AF_UNIX")), "{sockets:?}");
    Ok(())
}
