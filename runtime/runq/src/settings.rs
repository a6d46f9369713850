//! What the user and the admin want of a VM, validated before anything is touched. The admin's words come from
//! `runtimeArgs` in daemon.json and from `config.toml`; the container's come from `docker run` or from the image, which is
//! hostile: they are bounded, and some are not heard at all.

mod file;
mod table;

use crate::spec::Limits;
use runq_contract::guest::{Dns, NinePCache, Share, VirtiofsCache};
use runq_contract::vm_config::Hardware;
use table::{MAX_VCPUS, MEMORY_MIB, Row};

pub(crate) use file::parse as parse_file;
pub(crate) use table::{Who, all, find};

/// Annotations of the container that are settings start with this.
pub(crate) const ANNOTATION: &str = "io.runq.";

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Size and kind of the VM.
    pub(crate) hardware: Hardware,
    /// How long the guest may take until the entrypoint starts.
    pub(crate) boot_timeout_seconds: u32,
    /// How the container's files get into the guest, instead of the bundle's own way.
    pub(crate) share: Option<Share>,
    /// What the guest keeps of them with virtiofs.
    pub(crate) virtiofs_cache: VirtiofsCache,
    /// What the guest keeps of them with 9p.
    pub(crate) nine_p_cache: NinePCache,
    /// Resolver configuration that replaces Docker's.
    pub(crate) dns: Option<Dns>,
    /// Further tmpfs mounts: destination and options.
    pub(crate) tmpfs: Vec<(String, Vec<String>)>,
    /// Docker's resolver configuration stays, whatever `dns` says.
    dns_preserve: bool,
    /// SIGUSR1 and SIGUSR2 run programs of the admin's.
    pub(crate) sigusr: bool,
    /// Nothing but the entrypoint may be started in the container.
    pub(crate) noexec: bool,
    /// The environment is written to `/.runqenv`.
    pub(crate) runqenv: bool,
    /// The entrypoint is systemd.
    pub(crate) systemd: bool,
    /// Id of the disk that becomes the root.
    pub(crate) root_disk: Option<String>,
    /// Paths of the image that are not copied onto it.
    pub(crate) root_disk_exclude: Vec<String>,
    /// Most vCPUs that a container may ask for.
    max_vcpus: u32,
    /// Most MiB that a container may ask for.
    max_memory_mib: u32,
    /// Flags that containers may decide although they are the admin's.
    allowed: Vec<&'static str>,
}

/// Everything that is said about a container's VM, the weakest first. Pairs are a name and a value.
#[derive(Debug, Default)]
pub(crate) struct Sources<'a> {
    /// `config.toml`, by flag.
    pub(crate) file: Vec<(String, String)>,
    /// `runtimeArgs`, by flag.
    pub(crate) args: Vec<(String, String)>,
    /// Docker's `-m` and `--cpus`.
    pub(crate) limits: Limits,
    /// Annotations, all of them.
    pub(crate) annotations: Vec<(&'a str, &'a str)>,
    /// The container's environment, `NAME=value`.
    pub(crate) env: Vec<&'a str>,
}

/// Settings that are not allowed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SettingError {
    /// A value.
    #[error("{name}={}: expected {expected}", value.escape_debug())]
    Value {
        /// Flag, key, annotation or variable.
        name: String,
        /// As given.
        value: String,
        /// What would be allowed.
        expected: String,
    },
    /// The container decides what is the admin's.
    #[error("{name}: the image could have set this, so the admin decides: use --{flag} in runtimeArgs{}",
        if *.can_be_allowed { format!(", or let containers choose with --allow {flag}") } else { String::new() })]
    NotYours {
        /// Annotation or variable.
        name: String,
        /// The admin's flag.
        flag: &'static str,
        /// Whether the admin can leave it to containers.
        can_be_allowed: bool,
    },
    /// An annotation that is ours by its name.
    #[error("annotation {name} is no setting of runq: see runq --help")]
    Unknown {
        /// As given.
        name: String,
    },
    /// A memory limit that no VM fits into.
    #[error("-m {mib}m is too small for a VM: expected at least {}m", MEMORY_MIB.0)]
    TooSmall {
        /// Docker's limit in MiB.
        mib: u64,
    },
    /// A VM beyond the container's limit, which an image must not lift.
    #[error("the VM's memory of {memory_mib} MiB (--mem, RUNQ_MEM) exceeds the container's limit: -m {mib}m")]
    BeyondLimit {
        /// As asked for.
        memory_mib: u32,
        /// Docker's limit in MiB.
        mib: u64,
    },
    /// A configuration that would leave the guest without name servers.
    #[error("resolver options and search domains need name servers: give them with --dns or RUNQ_DNS, too")]
    NoServers,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hardware: Hardware { vcpus: 1, memory_mib: 256, ..Hardware::default() },
            boot_timeout_seconds: 240,
            share: None,
            virtiofs_cache: VirtiofsCache::default(),
            nine_p_cache: NinePCache::default(),
            dns: None,
            tmpfs: Vec::new(),
            dns_preserve: false,
            sigusr: false,
            noexec: false,
            runqenv: false,
            systemd: false,
            root_disk: None,
            root_disk_exclude: Vec::new(),
            max_vcpus: MAX_VCPUS,
            max_memory_mib: MEMORY_MIB.1,
            allowed: Vec::new(),
        }
    }
}

impl Settings {
    /// Variable > annotation > Docker's limits > `runtimeArgs` > `config.toml` > default.
    pub(crate) fn resolve(sources: &Sources<'_>) -> Result<Self, SettingError> {
        let mut settings = Self::default();
        for (key, value) in &sources.file {
            settings.obey(table::find(key), &format!("config.toml: {key}"), value)?;
        }
        for (flag, value) in &sources.args {
            settings.obey(table::find(flag), &format!("--{flag}"), value)?;
        }
        settings.fit(sources.limits)?;
        for (name, value) in &sources.annotations {
            let Some(flag) = name.strip_prefix(ANNOTATION) else { continue };
            let row = table::find(flag).ok_or_else(|| SettingError::Unknown { name: (*name).to_owned() })?;
            settings.listen(row, name, value)?;
        }
        for variable in &sources.env {
            let Some((name, value)) = variable.split_once('=') else { continue };
            if let Some(row) = table::find_variable(name) {
                settings.listen(row, name, value)?;
            }
        }
        if settings.dns_preserve {
            settings.dns = None;
        }
        settings.check(sources.limits)?;
        Ok(settings)
    }

    /// A word of the admin's. The command line and the file have refused what is in no row.
    fn obey(&mut self, row: Option<&Row>, name: &str, value: &str) -> Result<(), SettingError> {
        let error = |expected: &str| SettingError::Value {
            name: name.to_owned(),
            value: value.to_owned(),
            expected: expected.to_owned(),
        };
        let row = row.ok_or_else(|| error("a setting of runq"))?;
        (row.apply)(self, value).ok_or_else(|| error(row.expected))
    }

    /// A word of the container's.
    fn listen(&mut self, row: &Row, name: &str, value: &str) -> Result<(), SettingError> {
        let may = match row.who {
            Who::Container => true,
            Who::WhenAllowed => self.allowed.contains(&row.flag),
            Who::Admin => false,
        };
        if !may {
            return Err(SettingError::NotYours {
                name: name.to_owned(),
                flag: row.flag,
                can_be_allowed: row.who == Who::WhenAllowed,
            });
        }
        self.obey(Some(row), name, value)?;
        let beyond = |expected: String| {
            Err(SettingError::Value { name: name.to_owned(), value: value.to_owned(), expected })
        };
        match row.flag {
            "cpu" if self.hardware.vcpus > self.max_vcpus => {
                beyond(format!("at most {} vCPUs, as the admin has it (--max-cpu)", self.max_vcpus))
            }
            "mem" if self.hardware.memory_mib > self.max_memory_mib => {
                beyond(format!("at most {} MiB, as the admin has it (--max-mem)", self.max_memory_mib))
            }
            _ => Ok(()),
        }
    }

    /// Makes the VM as big as Docker's limits allow, and no bigger than the admin does.
    fn fit(&mut self, limits: Limits) -> Result<(), SettingError> {
        if let Some(mib) = limits.memory_mib {
            if mib < u64::from(MEMORY_MIB.0) {
                return Err(SettingError::TooSmall { mib });
            }
            let most = self.max_memory_mib;
            self.hardware.memory_mib = u32::try_from(mib).map_or(most, |mib| mib.min(most));
        }
        if let Some(vcpus) = limits.vcpus {
            self.hardware.vcpus = vcpus.clamp(1, self.max_vcpus);
        }
        Ok(())
    }

    /// What concerns more than one setting.
    fn check(&self, limits: Limits) -> Result<(), SettingError> {
        let memory_mib = self.hardware.memory_mib;
        if let Some(mib) = limits.memory_mib.filter(|mib| u64::from(memory_mib) > *mib) {
            return Err(SettingError::BeyondLimit { memory_mib, mib });
        }
        if self.dns.as_ref().is_some_and(|dns| dns.servers.is_empty()) {
            return Err(SettingError::NoServers);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
