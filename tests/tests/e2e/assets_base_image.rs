//! Base images: what an image has installed in the wanted version is taken from it and not from the archive, wherever
//! the image comes from. Against a real registry, Docker's own archives and the test's Ubuntu archive.

use anyhow::{Context, Result};
use runq_tests::assets::Build;
use runq_tests::bed::Bed;
use runq_tests::http_server::Answer;
use runq_tests::oci_layout::{self, Layer, OciLayout};
use runq_tests::registry::Registry;
use runq_tests::ubuntu_archive::UbuntuArchive;
use std::path::Path;

/// The package that the images have, and the program that a build needs of it.
const PACKAGE: &str = "virtiofsd";

/// Whether a build with this base image takes the package from the archive. The build ends at a later package, which
/// the archive has lost: it is not what this test is about.
fn takes_from_archive(archive: &UbuntuArchive, image: &str, docker_config: Option<&Path>) -> Result<bool> {
    let deb = archive.deb(PACKAGE)?;
    let count = || archive.server.requests().iter().filter(|request| request.path == deb).count();
    archive.server.answer(&archive.deb("libc6")?, [Answer::Status(404)]);
    let before = count();
    let mut build = build(archive, image)?;
    if let Some(dir) = docker_config {
        build = build.docker_config(dir);
    }
    build.refuses(&["libc6", "404"], &[]).with_context(|| format!("base image {image}"))?;
    Ok(count() > before)
}

fn build(archive: &UbuntuArchive, image: &str) -> Result<Build> {
    let build = Build::new(&archive.recipe(&archive.fingerprint)?, &archive.mirror())?;
    Ok(build.options(&["--base-image", image]))
}

/// The package installed; then hidden by a whiteout, and by an opaque directory. One compression each.
fn layouts(archive: &UbuntuArchive) -> Result<[OciLayout; 3]> {
    let installed = Layer { tar: oci_layout::installed(archive, PACKAGE)?, compression: "gzip" };
    let hide =
        |path: &str, compression| anyhow::Ok(Layer { tar: oci_layout::empty_files(&[path])?, compression });
    let whiteout = hide("usr/libexec/.wh.virtiofsd", "zstd")?;
    let opaque = hide("usr/libexec/.wh..wh..opq", "")?;
    Ok([
        OciLayout::of(std::slice::from_ref(&installed))?,
        OciLayout::of(&[installed.clone(), whiteout])?,
        OciLayout::of(&[installed, opaque])?,
    ])
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn image_of_a_registry_by_tag_and_digest_with_credentials() -> Result<()> {
    let archive = UbuntuArchive::serve()?;
    let registry = Registry::start_with_password()?;
    let docker_config = registry.docker_config("runq:secret")?;
    let with = |image: &str| takes_from_archive(&archive, image, Some(docker_config.path()));
    let [installed, whiteout, opaque] = layouts(&archive)?;
    for (layout, tag, hidden) in
        [(&installed, "base:1", false), (&whiteout, "base:2", true), (&opaque, "base:3", true)]
    {
        registry.push(layout.path(), tag)?;
        assert_eq!(with(&registry.name(tag))?, hidden, "{tag}");
    }
    let digest = registry.digest("base:1")?;
    assert!(!with(&registry.name(&format!("base@{digest}")))?, "by digest");
    let unknown = format!("base@sha256:{}", "0".repeat(64));
    build(&archive, &registry.name(&unknown))?
        .docker_config(docker_config.path())
        .refuses(&[&registry.name(&unknown)], &[])?;

    let wrong = registry.docker_config("runq:guess")?;
    build(&archive, &registry.name("base:1"))?
        .docker_config(wrong.path())
        .refuses(&[&registry.name("base:1"), "does not let us pull"], &[])?;

    registry.corrupt(&installed.last_layer)?;
    build(&archive, &registry.name("base:1"))?
        .docker_config(docker_config.path())
        .refuses(&[&installed.last_layer], &[])
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn image_of_docker_save_and_of_oci_forms() -> Result<()> {
    let archive = UbuntuArchive::serve()?;
    // Docker's own format has no zstd.
    let [installed, _, opaque] = layouts(&archive)?;
    let bed = Bed::shared()?;
    for (layout, name, hidden) in [(&installed, "runq-base:1", false), (&opaque, "runq-base:2", true)] {
        let takes = |path: &Path| takes_from_archive(&archive, &path.display().to_string(), None);
        let made = layout.archive("docker-archive", name)?;
        assert_eq!(takes(&made)?, hidden, "docker-archive of skopeo, {name}");
        let saved = layout.path().join("saved.tar");
        bed.docker.output(&["load", "--input", &made.display().to_string()])?;
        let save = bed.docker.output(&["save", "--output", &saved.display().to_string(), name]);
        bed.docker.output(&["rmi", name])?;
        save?;
        assert_eq!(takes(&saved)?, hidden, "docker save, {name}");
        assert_eq!(takes(layout.path())?, hidden, "OCI layout, {name}");
    }
    Ok(())
}
