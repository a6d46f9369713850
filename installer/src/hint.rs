//! What to do about an error, for the errors where that can be said. Pure.

use crate::docker_config::{ConfigError, ConfigFileError};
use crate::docker_daemon::DaemonError;
use crate::installed::InstalledError;
use crate::keys::KeyError;
use crate::lock::LockError;
use crate::preflight::PreflightError;
use crate::source::SourceError;
use anyhow::Error;
use runq_bundle::archive::ArchiveError;
use runq_bundle::signature::SignatureError;

/// The hint of the innermost error that has one.
pub(crate) fn hint(error: &Error) -> Option<&'static str> {
    error.chain().collect::<Vec<_>>().into_iter().rev().find_map(|cause| {
        cause
            .downcast_ref()
            .and_then(of_signature)
            .or_else(|| cause.downcast_ref().and_then(of_archive))
            .or_else(|| cause.downcast_ref().and_then(of_key))
            .or_else(|| cause.downcast_ref().and_then(of_installed))
            .or_else(|| cause.downcast_ref().and_then(of_preflight))
            .or_else(|| cause.downcast_ref().and_then(of_config))
            .or_else(|| cause.downcast_ref().and_then(of_config_file))
            .or_else(|| cause.downcast_ref().and_then(of_daemon))
            .or_else(|| cause.downcast_ref().and_then(of_source))
            .or_else(|| cause.downcast_ref().map(of_lock))
    })
}

fn of_signature(error: &SignatureError) -> Option<&'static str> {
    match error {
        SignatureError::UnknownKey { .. } => Some("add the key with --public-key, or fetch the bundle again"),
        SignatureError::Mismatch { .. } | SignatureError::Malformed(_) => Some("fetch the bundle again"),
        _ => None,
    }
}

fn of_key(error: &KeyError) -> Option<&'static str> {
    match error {
        KeyError::None => Some(
            "name the key that the bundle is signed with: --public-key FILE or KEY; release/keys/README.md says how one is compiled in",
        ),
        KeyError::Read { .. } | KeyError::Malformed { .. } => None,
    }
}

fn of_installed(error: &InstalledError) -> Option<&'static str> {
    match error {
        InstalledError::NoTree { .. } => Some("copy the whole tree there first, or name another --prefix"),
        InstalledError::NotInstalled { .. } => Some("name the tree with --prefix"),
        InstalledError::Choice { .. } => Some("choose one: adopt --version ID, rollback --to ID"),
        InstalledError::Differs { .. } | InstalledError::Name { .. } => {
            Some("the copy is not what was signed: copy the tree again, or install from a bundle")
        }
        _ => None,
    }
}

fn of_archive(error: &ArchiveError) -> Option<&'static str> {
    match error {
        ArchiveError::Extract { .. } | ArchiveError::Signature(_) | ArchiveError::Manifest(_) => None,
        _ => Some("the bundle is damaged or was tampered with: fetch it again"),
    }
}

fn of_preflight(error: &PreflightError) -> Option<&'static str> {
    match error {
        PreflightError::NoBundle { .. } => Some("name the bundle with --bundle FILE"),
        PreflightError::SeveralBundles { .. } => Some("choose one with --bundle FILE"),
        PreflightError::Arch { .. } => {
            Some("ask for the bundle's architecture with --arch, or take another bundle")
        }
        PreflightError::Downgrade { .. } => Some("if that is what you want, say --allow-downgrade"),
        PreflightError::Space { .. } => Some("free some space, or choose another --prefix"),
        PreflightError::Prefix { .. } => Some("give it to root with mode 0755, or choose another --prefix"),
        PreflightError::Mount { .. } => Some("mount it with rw,exec, or choose another --prefix"),
        PreflightError::Word { .. } => Some("dockerd puts path and arguments unquoted into a shell script"),
        _ => None,
    }
}

fn of_config(error: &ConfigError) -> Option<&'static str> {
    match error {
        ConfigError::Syntax(_) | ConfigError::Root { .. } | ConfigError::Runtimes(_) => {
            Some("mend the file, or keep it untouched with --no-docker")
        }
        ConfigError::DefaultRuntime { .. } => Some("choose another \"default-runtime\" first"),
        ConfigError::Edit => None,
    }
}

fn of_config_file(error: &ConfigFileError) -> Option<&'static str> {
    match error {
        ConfigFileError::Changed { .. } => Some("run the command again"),
        ConfigFileError::Encoding { .. } => {
            Some("convert the file to UTF-8, or keep it untouched with --no-docker")
        }
        ConfigFileError::Fixed { .. } => Some(
            "edit the file where it comes from, or name another with --daemon-json, or keep it untouched with --no-docker",
        ),
        _ => None,
    }
}

fn of_source(error: &SourceError) -> Option<&'static str> {
    match error {
        SourceError::Scheme { .. } => Some("fetch it yourself and name the file, or use one of these"),
        SourceError::Status { .. } | SourceError::NotABundle { .. } => Some("check the address"),
        SourceError::Request { .. } | SourceError::Registry { .. } => {
            Some("check address, proxy (HTTPS_PROXY) and certificates (--ca-file); a file needs no network")
        }
        SourceError::Interrupted { .. } => Some("run the command again: it goes on where it stopped"),
        SourceError::Keep { .. } => Some("choose another --download-dir"),
        SourceError::Platform { .. } => Some("ask for one of these with --arch"),
        SourceError::Digest { .. } => Some("run the command again: the registry sent something else"),
        _ => None,
    }
}

fn of_daemon(error: &DaemonError) -> Option<&'static str> {
    match error {
        DaemonError::Host { .. } => Some(
            "name the local socket with --docker-host unix://PATH, or edit daemon.json alone with --no-reload",
        ),
        DaemonError::OtherConfig { .. } => Some("name that file with --daemon-json"),
        DaemonError::NotTaken => Some("dockerd logs why: journalctl -u docker"),
        DaemonError::Invalid { .. } => Some(
            "mend that in daemon.json first; it may have been wrong before, and dockerd would not start with it",
        ),
        DaemonError::Process { .. } => Some("edit daemon.json with --no-reload, then reload dockerd"),
        _ => None,
    }
}

fn of_lock(error: &LockError) -> &'static str {
    match error {
        LockError::Held { .. } => "wait for it to end; the lock ends with its process, the file may stay",
        LockError::Open { .. } => "run as root, or choose another --prefix",
    }
}
