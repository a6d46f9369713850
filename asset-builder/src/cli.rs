//! The command line. Runs on the build machine.

use crate::base_image::ImageSource;
use crate::network::NetworkArgs;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Builds runq's signed asset bundles from a distribution's package archive. Needs no root, no Docker and no apt, and
/// runs no code of the target architecture.
#[derive(Debug, Parser)]
#[command(name = "runq-assets", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// Report neither progress nor what was done, only errors.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "Examples:
  runq-assets keygen -o release
  runq-assets build --arch x86_64 --distro ubuntu --binaries target/dist/x86_64 --key release.key -o runq.tar.zst
  runq-assets build --arch x86_64 --arch s390x --distro debian --binaries target/dist --key release.key -o .
  runq-assets build --arch x86_64 --arch s390x --recipe 'recipes/{arch}.toml' --binaries target/dist --key release.key -o .
  runq-assets build --arch s390x --host x86_64 --distro debian --binaries target/dist --key release.key -o .
  runq-assets lock --arch x86_64 --distro debian
  runq-assets fetch --arch x86_64 --distro debian --locked
  runq-assets verify runq.tar.zst --public-key release.pub
  runq-assets push runq-1.0.0-x86_64.tar.zst runq-1.0.0-s390x.tar.zst oci://registry.example.com/runq:1.0.0 --public-key release.pub
  runq-assets list runq.tar.zst --public-key release.pub
  runq-assets diff old.tar.zst new.tar.zst --public-key release.pub";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build a bundle.
    Build(BuildArgs),
    /// Write down which packages a build takes, so that `build --locked` takes the same ones.
    Lock(LockArgs),
    /// Fill the cache with all that a build takes.
    Fetch(FetchArgs),
    /// Make a key pair: PREFIX.key (secret, without a password) and PREFIX.pub, in minisign's format.
    #[command(after_help = "Examples:
  runq-assets keygen -o release
  minisign -V -m manifest.json -p release.pub")]
    Keygen {
        /// Path without suffix. Existing files are never replaced.
        #[arg(short, long, default_value = "runq", value_name = "PREFIX")]
        output: PathBuf,
    },
    /// Put bundles into an OCI registry, as an image index with one manifest for each platform.
    Push(PushArgs),
    /// Check the signature and every byte of a bundle, and the chain from the archive's keys to its files.
    Verify(VerifyArgs),
    /// Tell which need brought a file into a bundle: program, library, firmware, kernel module.
    #[command(after_help = "Examples:
  runq-assets why libglib-2.0.so.0 runq.tar.zst --public-key release.pub
  runq-assets why virtiofs runq.tar.zst --public-key release.pub --json")]
    Why {
        /// Path in the bundle, or the end of one; or a kernel module of the initrd.
        file: String,
        #[command(flatten)]
        bundle: BundleArgs,
    },
    /// List the files of a bundle, after checking its signature.
    #[command(after_help = "Examples:
  runq-assets list runq.tar.zst --public-key release.pub
  runq-assets list runq.tar.zst --public-key release.pub --json | jq -r '.[].path'")]
    List(BundleArgs),
    /// Tell in which packages and files two bundles differ, after checking every byte of both. Ends with 0 when they
    /// are the same to the byte, with 1 when they differ, with more when something is wrong.
    Diff(DiffArgs),
    /// Write man pages and completions for bash, zsh and fish into a directory; done when the program is built.
    #[command(hide = true)]
    Documents {
        /// Gets the directories man1 and completions.
        #[arg(value_name = "DIR")]
        output: PathBuf,
    },
}

/// Where packages come from.
#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    /// Architecture of the guest, as in arch/; repeatable, for one bundle each.
    #[arg(long, required = true)]
    pub(crate) arch: Vec<String>,
    /// Architecture of the host that QEMU runs on, when it emulates the guest [default: that of the guest].
    #[arg(long, value_name = "ARCH")]
    pub(crate) host: Option<String>,
    /// Distribution whose recipe for the architecture is compiled in.
    #[arg(long, default_value = "ubuntu", conflicts_with = "recipe")]
    pub(crate) distro: String,
    /// Use the recipe in a file instead; {arch} in its path stands for the architecture.
    #[arg(long, value_name = "FILE")]
    pub(crate) recipe: Option<String>,
    /// Base image: a reference (docker.io/library/ubuntu:24.04, name@sha256:…), an OCI layout directory, an archive of
    /// docker save, or none. Packages that it has installed in the wanted version are taken from it.
    #[arg(long, value_name = "IMAGE", default_value = "none")]
    pub(crate) base_image: ImageSource,
    /// Directory that keeps downloads [default: ~/.cache/runq].
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
    /// Mirror to use for the archives whose URL ends in the same directory (…/debian, …/debian-security); repeatable.
    #[arg(long, value_name = "URL")]
    pub(crate) mirror: Vec<String>,
    /// Accept a mirror that is older than it was when the cache last saw it.
    #[arg(long)]
    pub(crate) allow_older: bool,
    /// Read the archives as they were at a time, such as 20261101T000000Z.
    #[arg(long, value_name = "TIME", conflicts_with = "mirror")]
    pub(crate) snapshot: Option<String>,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    /// Describe the result as JSON on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Whether the packages are those of a lock.
#[derive(Debug, Args)]
pub(crate) struct LockedArgs {
    /// Take exactly the packages of the lock, and read no index.
    #[arg(long)]
    pub(crate) locked: bool,
    /// The lock [default: the one beside the recipe, or compiled in with it].
    #[arg(long, value_name = "FILE", requires = "locked")]
    pub(crate) lock: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  runq-assets build --arch x86_64 --distro ubuntu --binaries target/dist/x86_64 --key release.key -o runq.tar.zst
  runq-assets build --arch x86_64 --distro debian --locked --offline --binaries target/dist --key release.key -o .")]
pub(crate) struct BuildArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) locked: LockedArgs,
    /// Fetch nothing: the cache has all that the lock names.
    #[arg(long, requires = "locked")]
    pub(crate) offline: bool,
    /// Directory with runq, runq-install, proxy, init and build-id, or with a directory of these for each architecture.
    #[arg(long, value_name = "DIR")]
    pub(crate) binaries: PathBuf,
    /// Secret key to sign with; repeated, for a second signature while a key is being replaced.
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) key: Vec<PathBuf>,
    /// Bundle to write, or a directory for runq-VERSION-ARCH.tar.zst (-HOST+GUEST when they differ).
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  runq-assets lock --arch x86_64 --distro debian
  runq-assets lock --arch s390x --recipe my.toml -o my.lock")]
pub(crate) struct LockArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Lock to write [default: beside the recipe, arch/ARCH/DISTRO.lock in a checkout].
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  runq-assets fetch --arch x86_64 --distro debian --locked
  runq-assets fetch --arch s390x --distro debian --cache /mnt/usb/runq")]
pub(crate) struct FetchArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) locked: LockedArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  runq-assets push runq-1.0.0-x86_64.tar.zst oci://registry.example.com/runq:1.0.0 --public-key release.pub
  runq-assets push runq-1.0.0-x86_64.tar.zst runq-1.0.0-s390x.tar.zst oci://127.0.0.1:5000/runq:1.0.0 --public-key release.pub")]
pub(crate) struct PushArgs {
    /// Bundles, of different architectures.
    #[arg(required = true, value_name = "BUNDLE")]
    pub(crate) bundles: Vec<PathBuf>,
    /// oci://REGISTRY/REPOSITORY:TAG; a registry on this machine is spoken to without TLS.
    #[arg(value_name = "TARGET")]
    pub(crate) target: String,
    /// Public key to trust: what it has not signed is not pushed.
    #[arg(long, value_name = "FILE")]
    pub(crate) public_key: PathBuf,
    /// Certificates to trust besides the system's, in PEM.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Directory with Docker's config.json, for the password of the registry [default: $DOCKER_CONFIG, else ~/.docker].
    #[arg(long, value_name = "DIR")]
    pub(crate) docker_config: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  runq-assets verify runq.tar.zst --public-key release.pub
  runq-assets verify runq.tar.zst --public-key release.pub --cache ~/.cache/runq
  runq-assets verify runq.tar.zst --public-key release.pub --cache ~/.cache/runq --recipe my.toml")]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) bundle: BundleArgs,
    /// Follow the whole chain through the downloads of this directory: InRelease, Packages, .deb, files.
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
    /// The recipe that pins the archive's keys [default: the one that is compiled in for the bundle's distribution].
    #[arg(long, value_name = "FILE")]
    pub(crate) recipe: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BundleArgs {
    /// The bundle.
    pub(crate) bundle: PathBuf,
    /// Public key to trust; repeatable.
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) public_key: Vec<PathBuf>,
    /// Describe the result as JSON on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  runq-assets diff runq-1.0.0-x86_64.tar.zst runq-1.0.1-x86_64.tar.zst --public-key release.pub
  runq-assets diff mine.tar.zst theirs.tar.zst --public-key mine.pub --public-key theirs.pub --json")]
pub(crate) struct DiffArgs {
    /// The bundle before.
    pub(crate) old: PathBuf,
    /// The bundle after.
    pub(crate) new: PathBuf,
    /// Public key to trust; repeatable.
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) public_key: Vec<PathBuf>,
    /// Describe the result as JSON on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_command_explains_itself_by_examples() {
        Cli::command().debug_assert();
        for command in Cli::command().get_subcommands_mut().filter(|command| !command.is_hide_set()) {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Examples:\n  runq-assets "), "{help}");
        }
    }
}
