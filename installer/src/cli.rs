//! The command line. Runs on the host; the only place that reads the environment.

mod examples;
mod groups;

pub(crate) use groups::{
    Docker, DockerHost, EngineName, Keys, Prefix, Registering, Runtime, Transport, Trial,
};

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Where dockerd reads its configuration when nobody says otherwise.
pub(crate) const DEFAULT_DAEMON_JSON: &str = "/etc/docker/daemon.json";

/// Installs runq: verifies an asset bundle, deploys it, and adds the runtime to Docker without disturbing the rest.
#[derive(Debug, Parser)]
#[command(name = "runq-install", version = crate::keys::VERSION, after_help = examples::INSTALL)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) install: Install,

    /// Report as one JSON object on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// What to do; `install` when nothing is said.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Verify a bundle, deploy it and register the runtime (the default)
    #[command(after_help = examples::INSTALL)]
    Install(Install),
    /// Verify a tree that was copied here, mend it and register the runtime, without a network
    #[command(after_help = examples::ADOPT)]
    Adopt(Adopt),
    /// Check an installed version, or a bundle, to the last byte
    #[command(after_help = examples::VERIFY)]
    Verify(Verify),
    /// List the installed versions
    #[command(after_help = examples::LIST)]
    List(Prefix),
    /// Activate the version that was active before, without a network
    #[command(after_help = examples::ROLLBACK)]
    Rollback(Rollback),
    /// Remove versions that are neither active, nor the one before, nor in use
    #[command(after_help = examples::GC)]
    Gc(Gc),
    /// Write an installed version as one file, which install takes
    #[command(after_help = examples::EXPORT)]
    Export(Export),
    /// Fetch a bundle into one local file and verify it
    #[command(after_help = examples::PULL)]
    Pull(Pull),
    /// Add the installed runtime to Docker, or change its entry
    #[command(after_help = examples::REGISTER)]
    Register(Register),
    /// Remove the entry of daemon.json that was added, and leave the tree
    #[command(after_help = examples::UNREGISTER)]
    Unregister(Unregister),
    /// Tell whether this host is fit for runq and what is installed sound, and what to do about it
    #[command(after_help = examples::DOCTOR)]
    Doctor(Doctor),
    /// Write man pages and completions for bash, zsh and fish into a directory; done when the program is built
    #[command(hide = true, after_help = examples::DOCUMENTS)]
    Documents {
        /// Gets the directories man1 and completions
        #[arg(value_name = "DIR")]
        output: PathBuf,
    },
    /// Remove the entry of daemon.json that was added, and the tree
    #[command(after_help = examples::UNINSTALL)]
    Uninstall(Uninstall),
}

/// Options of `install`.
#[derive(Debug, Args)]
pub(crate) struct Install {
    /// Architecture to install: x86_64, s390x, or HOST+GUEST; this machine's unless another is asked for
    #[arg(long, default_value = std::env::consts::ARCH)]
    pub(crate) arch: String,

    /// Asset bundle: a file, https://…, or oci://REGISTRY/REPOSITORY:TAG [default: the one file runq-*-ARCH.tar.zst beside
    /// this program]
    #[arg(long, value_name = "SOURCE")]
    pub(crate) bundle: Option<PathBuf>,

    /// Install a bundle that is older than the active version
    #[arg(long)]
    pub(crate) allow_downgrade: bool,

    #[command(flatten)]
    pub(crate) keys: Keys,

    #[command(flatten)]
    pub(crate) prefix: Prefix,

    #[command(flatten)]
    pub(crate) registering: Registering,

    #[command(flatten)]
    pub(crate) transport: Transport,
}

/// Options of `adopt`.
#[derive(Debug, Args)]
pub(crate) struct Adopt {
    /// Version to adopt [default: the active one, or the only one]
    #[arg(long, value_name = "ID")]
    pub(crate) version: Option<String>,

    #[command(flatten)]
    pub(crate) keys: Keys,

    #[command(flatten)]
    pub(crate) prefix: Prefix,

    #[command(flatten)]
    pub(crate) registering: Registering,
}

/// Options of `verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Check this bundle instead of an installed version
    #[arg(long, value_name = "FILE", conflicts_with = "version")]
    pub(crate) bundle: Option<PathBuf>,

    /// Version to check [default: the active one]
    #[arg(long, value_name = "ID")]
    pub(crate) version: Option<String>,

    #[command(flatten)]
    pub(crate) keys: Keys,

    #[command(flatten)]
    pub(crate) prefix: Prefix,
}

/// Options of `rollback`.
#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// Version to activate [default: the one that was active before]
    #[arg(long, value_name = "ID")]
    pub(crate) to: Option<String>,

    #[command(flatten)]
    pub(crate) trial: Trial,

    #[command(flatten)]
    pub(crate) keys: Keys,

    #[command(flatten)]
    pub(crate) prefix: Prefix,
}

/// Options of `gc`.
#[derive(Debug, Args)]
pub(crate) struct Gc {
    /// Do not keep the version before the active one either
    #[arg(long)]
    pub(crate) all: bool,

    #[command(flatten)]
    pub(crate) trial: Trial,

    #[command(flatten)]
    pub(crate) prefix: Prefix,
}

/// Options of `export`.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Version to write [default: the active one]
    #[arg(long, value_name = "ID")]
    pub(crate) version: Option<String>,

    /// File or directory to write to [default: runq-VERSION-ARCH.tar.zst here]
    #[arg(long, short, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) keys: Keys,

    #[command(flatten)]
    pub(crate) prefix: Prefix,
}

/// Options of `pull`.
#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// https://…, oci://REGISTRY/REPOSITORY:TAG, or a file
    #[arg(value_name = "SOURCE")]
    pub(crate) source: PathBuf,

    /// Architecture of the bundle: x86_64, s390x, or HOST+GUEST; this machine's unless another is asked for
    #[arg(long, default_value = std::env::consts::ARCH)]
    pub(crate) arch: String,

    /// File or directory to write to [default: a file here]
    #[arg(long, short, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) keys: Keys,

    #[command(flatten)]
    pub(crate) transport: Transport,
}

/// Options of `register`.
#[derive(Debug, Args)]
pub(crate) struct Register {
    #[command(flatten)]
    pub(crate) prefix: Prefix,

    #[command(flatten)]
    pub(crate) runtime: Runtime,

    /// Program that is to know the runtime
    #[arg(long, value_enum, default_value = "docker")]
    pub(crate) engine: EngineName,

    /// Configuration of podman or containerd [default: /etc/containers/containers.conf.d/50-runq.conf,
    /// /etc/containerd/config.toml]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["daemon_json", "set_default"])]
    pub(crate) config_file: Option<PathBuf>,
}

/// Options of `unregister`.
#[derive(Debug, Args)]
pub(crate) struct Unregister {
    /// Program that is to forget the runtime
    #[arg(long, value_enum, default_value = "docker")]
    pub(crate) engine: EngineName,

    /// Only the runtime of this name [default: all that were added]
    #[arg(long)]
    pub(crate) name: Option<String>,

    #[command(flatten)]
    pub(crate) trial: Trial,

    #[command(flatten)]
    pub(crate) prefix: Prefix,

    #[command(flatten)]
    pub(crate) docker: Docker,
}

/// Options of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) keys: Keys,

    #[command(flatten)]
    pub(crate) prefix: Prefix,

    #[command(flatten)]
    pub(crate) docker: DockerHost,
}

/// Options of `uninstall`.
#[derive(Debug, Args)]
pub(crate) struct Uninstall {
    /// Remove it although containers use it, and say what that breaks
    #[arg(long)]
    pub(crate) force: bool,

    #[command(flatten)]
    pub(crate) trial: Trial,

    #[command(flatten)]
    pub(crate) prefix: Prefix,

    #[command(flatten)]
    pub(crate) docker: Docker,
}

impl Cli {
    /// The command, which is `install` when none is named.
    pub(crate) fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Install(self.install))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn install_is_the_default_and_takes_arguments_with_dashes() {
        let line = "runq-install --arch x86_64 --public-key k --runtime-arg --accel --runtime-arg tcg --json";
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        assert!(cli.json);
        let Command::Install(install) = cli.into_command() else { panic!("another command") };
        assert_eq!(install.registering.runtime.runtime_args, ["--accel", "tcg"]);
        let cli = Cli::try_parse_from(["runq-install", "list", "--json"]).unwrap();
        assert!(cli.json);
        assert!(matches!(cli.into_command(), Command::List(_)));
    }

    #[test]
    fn every_command_has_examples() {
        for command in Cli::command().get_subcommands().filter(|command| command.get_name() != "help") {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.starts_with("Examples:\n  "), "{} has no examples", command.get_name());
        }
    }
}
