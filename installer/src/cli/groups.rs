//! Groups of options that several commands share. Runs on the host.

use clap::Args;
use std::path::PathBuf;

/// Where everything goes when nobody says otherwise.
const DEFAULT_PREFIX: &str = "/var/lib/runq";

/// Whose signatures count.
#[derive(Debug, Args)]
pub(crate) struct Keys {
    /// Trusted key: a file of minisign's, or its base64 line (repeatable) [default: the keys of the release]
    #[arg(long = "public-key", value_name = "FILE|KEY")]
    pub(crate) public_keys: Vec<String>,
}

/// Where the tree is.
#[derive(Debug, Args)]
pub(crate) struct Prefix {
    /// Directory of the installed tree
    #[arg(long, value_name = "DIR", default_value = DEFAULT_PREFIX)]
    pub(crate) prefix: PathBuf,
}

/// Where dockerd is.
#[derive(Debug, Clone, Args)]
pub(crate) struct DockerHost {
    /// Socket of dockerd
    #[arg(long, value_name = "unix://PATH", env = "DOCKER_HOST", default_value = crate::docker_daemon::DEFAULT_HOST)]
    pub(crate) docker_host: String,
}

/// How dockerd is talked to.
#[derive(Debug, Clone, Args)]
pub(crate) struct Docker {
    #[command(flatten)]
    pub(crate) at: DockerHost,

    /// Edit daemon.json, but leave dockerd alone
    #[arg(long)]
    pub(crate) no_reload: bool,
}

/// What stands in daemon.json.
#[derive(Debug, Args)]
pub(crate) struct Runtime {
    /// Configuration of dockerd [default: the one that the running dockerd reads, else /etc/docker/daemon.json]
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

    /// Make it the default runtime; uninstall and unregister bring the former one back
    #[arg(long)]
    pub(crate) set_default: bool,

    #[command(flatten)]
    pub(crate) trial: Trial,
}

/// Whether anything is done at all.
#[derive(Debug, Args)]
pub(crate) struct Trial {
    /// Change nothing, show what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Whether Docker is to know of it at all.
#[derive(Debug, Args)]
pub(crate) struct Registering {
    #[command(flatten)]
    pub(crate) runtime: Runtime,

    /// Touch neither daemon.json nor dockerd
    #[arg(long, conflicts_with = "daemon_json")]
    pub(crate) no_docker: bool,
}

/// What runs containers and calls the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EngineName {
    /// dockerd: daemon.json
    Docker,
    /// podman: a drop-in of containers.conf
    Podman,
    /// containerd and its CRI plugin: config.toml of version 2 or 3
    Containerd,
}

impl std::fmt::Display for EngineName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Containerd => "containerd",
        })
    }
}

/// How bundles are fetched.
#[derive(Debug, Args)]
pub(crate) struct Transport {
    /// Certificates to trust besides the system's, in PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,

    /// Directory that keeps downloads until they are complete
    #[arg(long, value_name = "DIR", default_value = "/var/cache/runq")]
    pub(crate) download_dir: PathBuf,

    /// Directory with Docker's config.json, for the passwords of registries [default: /root/.docker]
    #[arg(
        long,
        value_name = "DIR",
        env = "DOCKER_CONFIG",
        default_value = "/root/.docker",
        hide_default_value = true
    )]
    pub(crate) docker_config: Option<PathBuf>,
}

impl DockerHost {
    /// The socket; an empty variable counts as none, as for the docker command.
    pub(crate) fn name(&self) -> &str {
        if self.docker_host.is_empty() { crate::docker_daemon::DEFAULT_HOST } else { &self.docker_host }
    }
}

impl Docker {
    /// The socket.
    pub(crate) fn host(&self) -> &str {
        self.at.name()
    }
}
