//! What to build: the data of an architecture (`arch/<arch>/machine.toml`) and of a distribution for it
//! (`arch/<arch>/<distro>.toml`), compiled in or read from a file. Runs on the build machine; a recipe is trusted, as it
//! pins whom the build trusts.

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// (path below `arch/`, text) of every file there.
const EMBEDDED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/arch.rs"));

/// Public keys of the archives. They make a signature checkable, not trusted: that is for the recipe's fingerprints.
const KEY_FILES: [&str; 2] = [include_str!("../keys/debian.asc"), include_str!("../keys/ubuntu.asc")];

/// What an architecture is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Architecture {
    /// Our name of it.
    pub(crate) arch: String,
    /// Goes to the proxy unread, but for the paths that the build has to provide.
    pub(crate) machine: serde_json::Map<String, serde_json::Value>,
    /// For the build alone.
    pub(crate) build: BuildRules,
}

/// How files of an architecture look, and what a bundle for it needs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BuildRules {
    pub(crate) elf_machine: ElfMachine,
    pub(crate) elf_data: ElfData,
    /// The archive's name of the architecture.
    pub(crate) deb_arch: String,
    /// Directory of the libraries below `usr/lib`.
    pub(crate) multiarch: String,
    /// Path of the dynamic linker in the program headers, without the leading slash.
    pub(crate) interpreter: String,
    pub(crate) kernel_format: KernelFormat,
    /// Names in the `firmware_dirs` of the machine.
    pub(crate) firmware: Vec<String>,
    /// What the initrd carries.
    pub(crate) modules: Vec<ModuleGroup>,
}

/// `e_machine` of an ELF file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ElfMachine {
    X86_64,
    S390x,
}

/// `EI_DATA` of an ELF file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ElfData {
    Little,
    Big,
}

/// What QEMU gets as the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum KernelFormat {
    /// The ELF file inside of a bzImage.
    #[serde(rename = "vmlinux-from-bzimage")]
    VmlinuxFromBzImage,
    /// The distribution's image as it is.
    #[serde(rename = "vmlinuz")]
    Vmlinuz,
}

/// Kernel modules by what they are for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModuleGroup {
    pub(crate) group: String,
    /// Only for guests that get the root file system like this.
    #[serde(default)]
    pub(crate) share: Option<Share>,
    /// A path in the guest's /sys without which the modules are of no use and are not loaded.
    #[serde(default)]
    pub(crate) when: Option<String>,
    /// Each one is a file of the kernel package or built into the kernel.
    #[serde(default)]
    pub(crate) required: Vec<String>,
    /// The same, but not every kernel has them.
    #[serde(default)]
    pub(crate) optional: Vec<String>,
}

/// How the guest gets the container's root file system; the runtime contract's `Share`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Share {
    /// Served by virtiofsd, in the guest's byte order.
    #[serde(rename = "virtiofs")]
    Virtiofs,
    /// Served by QEMU, little-endian everywhere.
    #[serde(rename = "9p")]
    NineP,
}

impl Share {
    /// What a guest can be asked to use when its machine shares like this. Every QEMU serves 9p itself.
    pub(crate) fn choices(self) -> &'static [Self] {
        match self {
            Self::Virtiofs => &[Self::Virtiofs, Self::NineP],
            Self::NineP => &[Self::NineP],
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Virtiofs => "virtiofs",
            Self::NineP => "9p",
        }
    }
}

/// A distribution for an architecture.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recipe {
    /// Name and release, for the manifest.
    pub(crate) distribution: String,
    /// Where packages come from, and who vouches for them.
    pub(crate) archive: Vec<Archive>,
    pub(crate) packages: PackageNames,
    /// Packages whose scripts divert files or add alternatives, and why a bundle can do without that.
    #[serde(default)]
    pub(crate) acknowledged: BTreeMap<String, String>,
    /// Keys that replace those of the architecture's `[machine]`.
    #[serde(default)]
    pub(crate) machine: serde_json::Map<String, serde_json::Value>,
}

/// One archive host.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Archive {
    /// The directory that has `dists` and `pool`: the archive's own, which locks and provenance name.
    pub(crate) url: String,
    /// Where it is read instead.
    #[serde(skip)]
    pub(crate) mirror: Option<String>,
    /// Where the archive of the past is read, `{timestamp}` being the time.
    #[serde(default)]
    pub(crate) snapshot: Option<String>,
    /// It is read there.
    #[serde(skip)]
    at_snapshot: bool,
    pub(crate) suites: Vec<String>,
    pub(crate) components: Vec<String>,
    /// Primary OpenPGP keys, in hexadecimal; one good signature by any of them suffices.
    pub(crate) fingerprints: Vec<String>,
    /// A further armored key file, beside the recipe. Recipes that are compiled in have none.
    #[serde(default)]
    pub(crate) key_file: Option<String>,
}

/// The packages that a bundle starts from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PackageNames {
    pub(crate) programs: Vec<String>,
    /// Paths of files of the programs' packages that no ELF header names, such as QEMU's modules. `{multiarch}` stands
    /// for the host architecture's directory of libraries.
    #[serde(default)]
    pub(crate) opened_files: Vec<String>,
    pub(crate) firmware: Vec<String>,
    pub(crate) kernel: String,
}

impl PackageNames {
    /// All that is for the host.
    pub(crate) fn of_host(&self) -> impl Iterator<Item = &str> {
        self.programs.iter().chain(&self.firmware).map(String::as_str)
    }
}

impl Architecture {
    /// The architecture of this name.
    pub(crate) fn load(arch: &str) -> anyhow::Result<Self> {
        let name = format!("{arch}/machine.toml");
        let Some(text) = embedded(&name) else {
            bail!("unknown architecture {arch:?}, known are {}", known("/machine.toml", "").join(", "));
        };
        toml::from_str(text).with_context(|| format!("arch/{name} is malformed"))
    }
}

impl BuildRules {
    /// What every ELF file of the bundle has to be.
    pub(crate) fn elf(&self) -> (ElfMachine, ElfData) {
        (self.elf_machine, self.elf_data)
    }
}

impl Recipe {
    /// The recipe of a distribution that is compiled in.
    pub(crate) fn load(arch: &str, distro: &str) -> anyhow::Result<Self> {
        let name = format!("{arch}/{distro}.toml");
        let Some(text) = embedded(&name).filter(|_| distro != "machine") else {
            let prefix = format!("{arch}/");
            let distros: Vec<_> =
                known(".toml", &prefix).into_iter().filter(|name| *name != "machine").collect();
            bail!("no recipe for {distro:?} on {arch}, there is {}", distros.join(", "));
        };
        toml::from_str(text).with_context(|| format!("arch/{name} is malformed"))
    }

    /// A recipe in a file, with the key files that it names.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs_err::read_to_string(path)?;
        let mut recipe: Self =
            toml::from_str(&text).with_context(|| format!("recipe {} is malformed", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for archive in &mut recipe.archive {
            if let Some(key_file) = &mut archive.key_file {
                *key_file = fs_err::read_to_string(folder.join(&*key_file))?;
            }
        }
        Ok(recipe)
    }

    /// Uses a mirror for the archives whose URL ends in the same directory (`…/debian`, `…/debian-security`).
    pub(crate) fn use_mirror(&mut self, mirror: &str) -> anyhow::Result<()> {
        let mirror = mirror.trim_end_matches('/');
        let mut used = false;
        for archive in self.archive.iter_mut().filter(|archive| last_name(&archive.url) == last_name(mirror))
        {
            archive.mirror = Some(mirror.to_owned());
            used = true;
        }
        if !used {
            let urls: Vec<_> = self.archive.iter().map(|archive| archive.url.as_str()).collect();
            bail!(
                "mirror {mirror} ends in another directory than the archives, {}: name a mirror of one of these (Ubuntu's \
                 ubuntu-ports has s390x and no amd64, its ubuntu has amd64 and no s390x)",
                urls.join(", ")
            );
        }
        Ok(())
    }

    /// Reads the archives as they were at a time (`20261101T000000Z`).
    pub(crate) fn use_snapshot(&mut self, timestamp: &str) -> anyhow::Result<()> {
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let form = timestamp.strip_suffix('Z').and_then(|text| text.split_once('T'));
        if !form.is_some_and(|(day, time)| day.len() == 8 && time.len() == 6 && digits(day) && digits(time)) {
            bail!("{timestamp:?} is no time of a snapshot, expected the form 20261101T000000Z");
        }
        for archive in &mut self.archive {
            let Some(snapshot) = &archive.snapshot else {
                bail!(
                    "the recipe names no snapshots of {}: add snapshot = \"https://…/{{timestamp}}\" to it",
                    archive.url
                );
            };
            archive.mirror = Some(snapshot.replace("{timestamp}", timestamp));
            archive.at_snapshot = true;
        }
        Ok(())
    }

    /// The archive's own URL of what was found at a mirror of it.
    pub(crate) fn canonical(&self, url: &str) -> String {
        self.moved(url, Archive::base, |archive| &archive.url)
    }

    /// Where to fetch what the archive has at this URL.
    pub(crate) fn mirrored(&self, url: &str) -> String {
        self.moved(url, |archive| &archive.url, Archive::base)
    }

    fn moved(&self, url: &str, from: fn(&Archive) -> &str, to: fn(&Archive) -> &str) -> String {
        let rest = |archive: &Archive| url.strip_prefix(from(archive))?.strip_prefix('/').map(str::to_owned);
        let moved =
            self.archive.iter().find_map(|archive| Some(format!("{}/{}", to(archive), rest(archive)?)));
        moved.unwrap_or_else(|| url.to_owned())
    }
}

impl Archive {
    /// The directory that it is read from.
    pub(crate) fn base(&self) -> &str {
        self.mirror.as_deref().unwrap_or(&self.url)
    }

    /// Whether it is an archive of the past.
    pub(crate) fn is_snapshot(&self) -> bool {
        self.at_snapshot
    }

    /// The armored key files in which the pinned keys are looked up.
    pub(crate) fn key_files(&self) -> Vec<&str> {
        KEY_FILES.into_iter().chain(self.key_file.as_deref()).collect()
    }
}

/// The recipes that are compiled in for a distribution, of all architectures.
pub(crate) fn of_distribution(distribution: &str) -> anyhow::Result<Vec<Recipe>> {
    let names = EMBEDDED.iter().map(|(name, _)| name).filter_map(|name| name.strip_suffix(".toml"));
    let recipes = names.filter_map(|name| name.split_once('/')).filter(|(_, distro)| *distro != "machine");
    let recipes =
        recipes.map(|(arch, distro)| Recipe::load(arch, distro)).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(recipes.into_iter().filter(|recipe| recipe.distribution == distribution).collect())
}

/// The text of a file below `arch/` that is compiled in.
pub(crate) fn embedded(name: &str) -> Option<&'static str> {
    EMBEDDED.iter().find(|(found, _)| *found == name).map(|(_, text)| *text)
}

/// What the names of compiled in files have between a prefix and a suffix.
pub(crate) fn known(suffix: &str, prefix: &str) -> Vec<&'static str> {
    EMBEDDED.iter().filter_map(|(name, _)| name.strip_prefix(prefix)?.strip_suffix(suffix)).collect()
}

fn last_name(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openpgp::PinnedKeys;

    #[test]
    fn every_file_of_arch_is_well_formed_and_its_keys_are_known() {
        for (name, _) in EMBEDDED.iter().filter(|(name, _)| name.ends_with(".toml")) {
            let (arch, file) = name.split_once('/').unwrap();
            let architecture = Architecture::load(arch).unwrap();
            assert_eq!(architecture.arch, arch);
            if file != "machine.toml" {
                let recipe = Recipe::load(arch, file.trim_end_matches(".toml")).unwrap();
                for archive in &recipe.archive {
                    PinnedKeys::select(&archive.key_files(), &archive.fingerprints).unwrap();
                }
            }
        }
    }

    #[test]
    fn unknown_names_are_answered_with_the_known_ones() {
        let error = Architecture::load("x86-64").unwrap_err().to_string();
        assert!(error.contains("x86_64"), "{error}");
        let error = Recipe::load("x86_64", "machine").unwrap_err().to_string();
        assert!(error.ends_with("there is debian, ubuntu-22.04, ubuntu-26.04, ubuntu"), "{error}");
    }

    #[test]
    fn a_mirror_replaces_the_archives_of_its_kind() {
        let mut recipe = Recipe::load("x86_64", "debian").unwrap();
        recipe.use_mirror("http://mirror.example/debian/").unwrap();
        assert_eq!(recipe.archive[0].base(), "http://mirror.example/debian");
        assert_eq!(recipe.archive[1].base(), "http://security.debian.org/debian-security");
        let own = "http://deb.debian.org/debian/pool/q.deb";
        assert_eq!(recipe.mirrored(own), "http://mirror.example/debian/pool/q.deb");
        assert_eq!(recipe.canonical("http://mirror.example/debian/pool/q.deb"), own);
        assert!(recipe.use_mirror("http://mirror.example/ubuntu").is_err());
    }

    #[test]
    fn every_recipe_can_be_built_from_a_snapshot() {
        let is_recipe = |name: &str| name.ends_with(".toml") && !name.ends_with("machine.toml");
        for (name, _) in EMBEDDED.iter().filter(|(name, _)| is_recipe(name)) {
            let (arch, file) = name.split_once('/').unwrap();
            let mut recipe = Recipe::load(arch, file.trim_end_matches(".toml")).unwrap();
            recipe.use_snapshot("20261101T000000Z").unwrap();
            for archive in &recipe.archive {
                assert!(
                    archive.is_snapshot() && archive.base().ends_with("/20261101T000000Z"),
                    "{}",
                    archive.base()
                );
            }
            for text in ["2026", "20261101T000000", "20261101T00000?Z"] {
                assert!(recipe.use_snapshot(text).is_err(), "{text}");
            }
        }
    }
}
