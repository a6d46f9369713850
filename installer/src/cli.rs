//! The command line. Runs on the host; the only place that reads the environment.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Where everything goes when nobody says otherwise.
const DEFAULT_PREFIX: &str = "/var/lib/runq";

/// Where dockerd reads its configuration when nobody says otherwise.
pub(crate) const DEFAULT_DAEMON_JSON: &str = "/etc/docker/daemon.json";

const EXAMPLES: &str = "\
Examples:
  runq-install --arch x86_64 --public-key runq.pub
      installs the bundle runq-*-x86_64.tar.zst that lies beside this program
  runq-install --arch x86_64 --public-key RWQ… --bundle /mnt/usb/runq-1.0.0-x86_64.tar.zst --dry-run
      verifies the bundle and shows what would change, daemon.json included
  runq-install --arch s390x --public-key runq.pub --bundle FILE --prefix /srv/image/var/lib/runq
      prepares the tree for a machine of another architecture; Docker is left alone
  runq-install verify --public-key runq.pub
      checks every file of the active version against its signed manifest
  runq-install uninstall
      removes the entry from daemon.json and everything below the prefix

Exit codes: 0 done or nothing to do, 1 verify found differences, 2 wrong usage, 125 failed.";

/// Installs runq: verifies an asset bundle, deploys it, and adds the runtime to Docker without disturbing the rest.
#[derive(Debug, Parser)]
#[command(name = "runq-install", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) install: Install,
}

/// What to do; `install` when nothing is said.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Verify a bundle, deploy it and register the runtime (the default)
    #[command(after_help = EXAMPLES)]
    Install(Install),
    /// Check the installed version, or a bundle, to the last byte
    Verify(Verify),
    /// List the installed versions
    List(List),
    /// Remove the entry of daemon.json that was added, and the tree
    Uninstall(Uninstall),
}

/// Options of `install`.
#[derive(Debug, Args)]
pub(crate) struct Install {
    /// Architecture to install: x86_64, s390x, or HOST+GUEST; this machine's unless another is asked for
    #[arg(long, default_value = std::env::consts::ARCH)]
    pub(crate) arch: String,

    /// Asset bundle [default: the one file runq-*-ARCH.tar.zst beside this program]
    #[arg(long, value_name = "FILE")]
    pub(crate) bundle: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) keys: Keys,

    #[command(flatten)]
    pub(crate) prefix: Prefix,

    /// Configuration of dockerd [default: /etc/docker/daemon.json]
    #[arg(long, value_name = "FILE")]
    pub(crate) daemon_json: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) docker: Docker,

    /// Name of the runtime, as in docker run --runtime NAME
    #[arg(long, default_value = "runq")]
    pub(crate) name: String,

    /// Argument of the runtime, before Docker's own (repeatable; without it, those that are there stay)
    #[arg(long = "runtime-arg", value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) runtime_args: Vec<String>,

    /// Touch neither daemon.json nor dockerd
    #[arg(long, conflicts_with = "daemon_json")]
    pub(crate) no_docker: bool,

    /// Change nothing, show what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    pub(crate) output: Output,
}

/// Options of `verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Check this bundle instead of the installed version
    #[arg(long, value_name = "FILE")]
    pub(crate) bundle: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) keys: Keys,

    #[command(flatten)]
    pub(crate) prefix: Prefix,

    #[command(flatten)]
    pub(crate) output: Output,
}

/// Options of `list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) prefix: Prefix,

    #[command(flatten)]
    pub(crate) output: Output,
}

/// Options of `uninstall`.
#[derive(Debug, Args)]
pub(crate) struct Uninstall {
    #[command(flatten)]
    pub(crate) prefix: Prefix,

    #[command(flatten)]
    pub(crate) docker: Docker,

    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Keys {
    /// Trusted key: a file of minisign's, or its base64 line (repeatable)
    #[arg(long = "public-key", value_name = "FILE|KEY")]
    pub(crate) public_keys: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Prefix {
    /// Directory of the installed tree
    #[arg(long, value_name = "DIR", default_value = DEFAULT_PREFIX)]
    pub(crate) prefix: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Docker {
    /// Socket of dockerd
    #[arg(long, value_name = "unix://PATH", env = "DOCKER_HOST", default_value = crate::docker_daemon::DEFAULT_HOST)]
    pub(crate) docker_host: String,

    /// Edit daemon.json, but leave dockerd alone
    #[arg(long)]
    pub(crate) no_reload: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Output {
    /// Report as one JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

impl Docker {
    /// The socket; an empty variable counts as none, as for the docker command.
    pub(crate) fn host(&self) -> &str {
        if self.docker_host.is_empty() { crate::docker_daemon::DEFAULT_HOST } else { &self.docker_host }
    }
}

impl Cli {
    /// The command, which is `install` when none is named.
    pub(crate) fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Install(self.install))
    }
}

impl Command {
    /// Whether to report as JSON.
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::Install(options) => options.output.json,
            Self::Verify(options) => options.output.json,
            Self::List(options) => options.output.json,
            Self::Uninstall(options) => options.output.json,
        }
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
        let command = Cli::try_parse_from(line.split(' ')).unwrap().into_command();
        assert!(command.json());
        assert!(matches!(command, Command::Install(options) if options.runtime_args == ["--accel", "tcg"]));
        let command = Cli::try_parse_from(["runq-install", "list"]).unwrap().into_command();
        assert!(matches!(command, Command::List(_)));
    }
}
