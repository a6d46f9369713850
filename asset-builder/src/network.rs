//! How the network may be used: proxies, certificates, names and passwords. Runs on the build machine; trusts its user.

use anyhow::Context;
use clap::Args;
use runq_bundle::registry::is_local;
use std::path::{Path, PathBuf};

/// What the command line says about the network. Proxies are those of http_proxy, https_proxy and no_proxy.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct NetworkArgs {
    /// Certificates of authorities to trust beside those of this machine (PEM), for archives and registries.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Names and passwords for archives [default: ~/.netrc].
    #[arg(long, value_name = "FILE")]
    pub(crate) netrc: Option<PathBuf>,
    /// Registry (HOST[:PORT]) that is asked over plain HTTP, as those of this machine are; repeatable.
    #[arg(long, value_name = "HOST")]
    pub(crate) insecure_registry: Vec<String>,
}

/// The network, with all files read.
#[derive(Debug, Default)]
pub(crate) struct Network {
    /// PEM.
    pub(crate) ca_certificates: Option<Vec<u8>>,
    pub(crate) netrc: Netrc,
    /// `host[:port]`
    pub(crate) insecure_registries: Vec<String>,
    /// Directory of Docker's config.json.
    pub(crate) docker_config: Option<PathBuf>,
    /// There is none.
    pub(crate) offline: bool,
}

impl Network {
    /// Makes the cryptography of TLS known to both HTTP clients.
    pub(crate) fn prepare_tls() {
        // An error means that it is known already.
        drop(rustls::crypto::ring::default_provider().install_default());
    }

    /// Reads the files that the arguments and the environment name.
    pub(crate) fn new(args: &NetworkArgs, offline: bool) -> anyhow::Result<Self> {
        let netrc = match (&args.netrc, set("HOME").map(|home| home.join(".netrc"))) {
            (Some(path), _) => Netrc::read(path)?,
            (None, Some(path)) if path.exists() => Netrc::read(&path)?,
            _ => Netrc::default(),
        };
        Ok(Self {
            ca_certificates: args.ca_file.as_ref().map(fs_err::read).transpose()?,
            netrc,
            insecure_registries: args.insecure_registry.clone(),
            docker_config: docker_config(),
            offline,
        })
    }

    /// Whether a registry (`host[:port]`) is asked over plain HTTP: one of this machine, or one that the user names.
    pub(crate) fn is_plain(&self, registry: &str) -> bool {
        is_local(registry) || self.insecure_registries.iter().any(|name| name == registry)
    }
}

/// Directory of Docker's config.json: `$DOCKER_CONFIG`, else `~/.docker`.
pub(crate) fn docker_config() -> Option<PathBuf> {
    set("DOCKER_CONFIG").or_else(|| Some(set("HOME")?.join(".docker")))
}

fn set(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Names and passwords by host, as curl and apt read them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Netrc(Vec<Login>);

#[derive(Debug, Default, PartialEq, Eq)]
struct Login {
    /// `None`: any.
    host: Option<String>,
    name: String,
    password: Option<String>,
}

impl Netrc {
    fn read(path: &Path) -> anyhow::Result<Self> {
        Self::parse(&fs_err::read_to_string(path)?).with_context(|| {
            format!("{} is malformed: expected machine HOST login NAME password SECRET", path.display())
        })
    }

    /// Words by which an entry begins and goes on; macros end with an empty line.
    fn parse(text: &str) -> Option<Self> {
        let mut logins: Vec<Login> = Vec::new();
        let mut in_macro = false;
        for line in text.lines() {
            in_macro = in_macro && !line.trim().is_empty();
            if in_macro || line.trim_start().starts_with('#') {
                continue;
            }
            let mut words = line.split_whitespace();
            while let Some(word) = words.next() {
                match word {
                    "machine" => {
                        logins.push(Login { host: Some(words.next()?.to_owned()), ..Login::default() })
                    }
                    "default" => logins.push(Login::default()),
                    "login" => logins.last_mut()?.name = words.next()?.to_owned(),
                    "password" => logins.last_mut()?.password = Some(words.next()?.to_owned()),
                    "account" => drop(words.next()?),
                    "macdef" => {
                        in_macro = true;
                        break;
                    }
                    _ => return None,
                }
            }
        }
        Some(Self(logins))
    }

    /// Name and password for a host.
    pub(crate) fn login(&self, host: &str) -> Option<(&str, Option<&str>)> {
        let login = self.0.iter().find(|login| login.host.as_deref().is_none_or(|known| known == host))?;
        Some((&login.name, login.password.as_deref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_passwords_by_host() {
        let text = "# mine\nmachine a.example login u password p#1\nmacdef init\n machine x\n\nmachine b.example\n  login v\n";
        let netrc = Netrc::parse(text).unwrap();
        assert_eq!(netrc.login("a.example"), Some(("u", Some("p#1"))));
        assert_eq!(netrc.login("b.example"), Some(("v", None)));
        assert_eq!(netrc.login("x"), None);
        assert_eq!(Netrc::parse("default login d password e").unwrap().login("x"), Some(("d", Some("e"))));
        assert_eq!(Netrc::parse("machine"), None);
        assert_eq!(Netrc::parse("host a login b"), None);
    }

    #[test]
    fn plain_http_is_for_this_machine_and_for_registries_that_the_user_names() {
        let network =
            Network { insecure_registries: vec!["reg.example:5000".to_owned()], ..Network::default() };
        for registry in ["localhost:5000", "127.0.0.1", "127.8.9.1:5000", "[::1]:5000", "reg.example:5000"] {
            assert!(network.is_plain(registry), "{registry}");
        }
        for registry in ["docker.io", "reg.example", "localhost.example:5000", "10.0.0.1:5000"] {
            assert!(!network.is_plain(registry), "{registry}");
        }
    }
}
