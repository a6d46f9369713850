//! What to do about an error, for the errors where that can be said. Pure.

use crate::archive::ArchiveError;
use crate::base_image::{BaseImageError, RegistryError};
use crate::binaries::BinaryError;
use crate::chain::ReplayError;
use crate::closure::ClosureError;
use crate::fetch::FetchError;
use crate::lock::{OtherBaseImage, StaleLock};
use crate::maintainer_scripts::UnacknowledgedScript;
use crate::openpgp::OpenPgpError;
use crate::packages::PackageError;
use crate::qemu_modules::QemuModuleError;
use crate::release_file::ReleaseError;
use anyhow::Error;
use runq_bundle::signature::SignatureError;
use std::io::ErrorKind;

/// The hint of the innermost error that has one.
pub(crate) fn hint(error: &Error) -> Option<&'static str> {
    error.chain().collect::<Vec<_>>().into_iter().rev().find_map(|cause| {
        cause
            .downcast_ref()
            .and_then(of_archive)
            .or_else(|| cause.downcast_ref().and_then(of_package))
            .or_else(|| cause.downcast_ref().and_then(of_fetch))
            .or_else(|| cause.downcast_ref().and_then(of_image))
            .or_else(|| cause.downcast_ref().and_then(of_closure))
            .or_else(|| cause.downcast_ref().map(of_binary))
            .or_else(|| cause.downcast_ref().and_then(of_signature))
            .or_else(|| cause.downcast_ref().map(of_lock))
            .or_else(|| cause.downcast_ref().map(of_locked_image))
            .or_else(|| cause.downcast_ref().and_then(of_replay))
            .or_else(|| cause.downcast_ref().map(of_script))
            .or_else(|| cause.downcast_ref().map(of_qemu_module))
    })
}

fn of_lock(_: &StaleLock) -> &'static str {
    "look at what changed in the recipe, and run `runq-assets lock` again"
}

fn of_locked_image(_: &OtherBaseImage) -> &'static str {
    "name that image with --base-image NAME@DIGEST, or make another lock: `runq-assets lock --base-image …`"
}

fn of_replay(error: &ReplayError) -> Option<&'static str> {
    match error {
        ReplayError::Absent { .. } => Some(
            "name the cache of a build from the archives themselves: one with --locked reads no indices. Without --cache, \
             what the bundle alone can prove is checked",
        ),
        ReplayError::Altered { .. } => Some("remove that file from the cache, and fetch it again"),
        _ => None,
    }
}

fn of_script(_: &UnacknowledgedScript) -> &'static str {
    "find out whether the bundle's files would be others; if not, say why in the recipe: a line PACKAGE = \"REASON\" in \
     [acknowledged]"
}

fn of_qemu_module(_: &QemuModuleError) -> &'static str {
    "take QEMU and its modules from packages of the same version: see programs and opened_files in the recipe"
}

fn of_archive(error: &ArchiveError) -> Option<&'static str> {
    match error {
        ArchiveError::Fetch(error) => of_fetch(error),
        ArchiveError::Signature { source: OpenPgpError::NoGoodSignature { .. }, .. } => {
            Some("if the archive has a new key, check it and add its fingerprint to the recipe")
        }
        ArchiveError::Signature { source: OpenPgpError::Wrapped | OpenPgpError::Malformed(_), .. } => {
            Some("something on the way alters what the archive publishes: name another mirror with --mirror")
        }
        ArchiveError::Release { source: ReleaseError::Expired { .. }, .. } => {
            Some("the mirror is out of date, or the clock of this machine is wrong")
        }
        ArchiveError::Release { source: ReleaseError::Suite { .. }, .. } => {
            Some("the mirror has another release in that place: name another one with --mirror")
        }
        ArchiveError::Remember { .. } => {
            Some("the cache has no room or cannot be written to: name another directory with --cache")
        }
        ArchiveError::Older { .. } => Some(
            "a mirror that goes back may hide security updates: name another one with --mirror, or say --allow-older",
        ),
        ArchiveError::NoSuite { .. } => Some(
            "check --distro and --mirror; releases that are out of support move to other hosts (archive.debian.org, \
             old-releases.ubuntu.com)",
        ),
        ArchiveError::NoArchitecture { .. } => Some(
            "name a host that serves this architecture with --mirror: Ubuntu has s390x at http://ports.ubuntu.com/ubuntu-ports \
             and amd64 at http://archive.ubuntu.com/ubuntu, Debian has s390x from trixie on",
        ),
        _ => None,
    }
}

fn of_fetch(error: &FetchError) -> Option<&'static str> {
    match error {
        FetchError::Status { status, .. } if matches!(status.as_u16(), 401 | 403 | 407) => Some(
            "give name and password of the host in ~/.netrc or --netrc, those of a proxy in http_proxy or https_proxy",
        ),
        FetchError::Request { .. }
        | FetchError::Body { .. }
        | FetchError::Short { .. }
        | FetchError::Status { .. } => Some(
            "check the network (http_proxy, https_proxy, no_proxy, --ca-file), or name another mirror with --mirror",
        ),
        FetchError::WebPage { .. } => Some(
            "a proxy or a login page answers instead of the archive: open the URL in a browser, or name another mirror with --mirror",
        ),
        FetchError::Mismatch { .. } | FetchError::TooLarge { .. } => {
            Some("the mirror may be in the middle of an update: try again, or name another one with --mirror")
        }
        FetchError::Offline { .. } => {
            Some("fill the cache with `runq-assets fetch` where there is a network, and build with --locked")
        }
        FetchError::Cache(error) if error.kind() == ErrorKind::StorageFull => {
            Some("make room, or name a directory on another disk with --cache")
        }
        FetchError::Cache(_) => Some("name a directory that can be written to with --cache"),
        FetchError::Client(_) => None,
    }
}

fn of_package(error: &PackageError) -> Option<&'static str> {
    match error {
        PackageError::Fetch(error) => of_fetch(error),
        PackageError::Contradiction { .. } => {
            Some("the archive's index is broken: wait for its mending, or name another mirror with --mirror")
        }
        _ => None,
    }
}

fn of_image(error: &BaseImageError) -> Option<&'static str> {
    match error {
        BaseImageError::Registry(RegistryError::Unauthorized { .. }) => Some(
            "run `docker login REGISTRY`, with a config.json that keeps the password in auths, or pull the image with another \
             tool and name its archive or layout",
        ),
        BaseImageError::Registry(
            RegistryError::Token { .. } | RegistryError::Request { .. } | RegistryError::Status { .. },
        ) => Some(
            "check name, tag and network; a registry that speaks plain HTTP needs --insecure-registry HOST",
        ),
        BaseImageError::Registry(RegistryError::TooLarge { .. } | RegistryError::Mismatch { .. }) => Some(
            "the registry, or something on the way, gives other bytes: try again, or ask who runs the registry",
        ),
        BaseImageError::NoImage { .. } => Some("name an image that has this architecture, or none"),
        _ => None,
    }
}

fn of_closure(error: &ClosureError<PackageError>) -> Option<&'static str> {
    match error {
        ClosureError::Load(error) => of_package(error),
        ClosureError::Missing { .. } => Some("add the package that has the file to the recipe"),
        _ => None,
    }
}

fn of_binary(error: &BinaryError) -> &'static str {
    match error {
        BinaryError::Read(_) | BinaryError::NoBuildId { .. } => {
            "`make build` leaves the programs and their build-id in target/dist/<arch>"
        }
        BinaryError::OtherBuild { .. } => "build both architectures from the same sources",
        BinaryError::Elf { .. } => "build the programs for the architecture of the bundle",
        BinaryError::NotStatic { .. } => "build with `-C target-feature=+crt-static`, as `make build` does",
    }
}

fn of_signature(error: &SignatureError) -> Option<&'static str> {
    match error {
        SignatureError::SecretKey => Some("make a key with `runq-assets keygen`"),
        SignatureError::UnknownKey { .. } => Some("name the signer's public key with --public-key"),
        _ => None,
    }
}
