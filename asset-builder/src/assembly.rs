//! Fills a bundle from packages: the programs with what they need and the firmware for the host, the kernel with its
//! modules and the initrd for the guest. Runs on the build machine.

use crate::closure::{self, Library};
use crate::copyright::{self, ExtractedLicense};
use crate::kernel_modules::ModuleTree;
use crate::layout::{self, Layout};
use crate::maintainer_scripts::UnacknowledgedScript;
use crate::package_index::Weight;
use crate::packages::Packages;
use crate::progress::Progress;
use crate::provenance::{InitrdModule, Need, PackageOrigin};
use crate::recipe::{BuildRules, PackageNames, Share};
use crate::resolution::Resolution;
use crate::sides::Side;
use crate::tree::NodeKind;
use crate::{depmod, initrd, kernel, maintainer_scripts, parallel, qemu_modules};
use anyhow::{Context, bail};
use bytes::Bytes;
use indicatif::DecimalBytes;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// What the build itself reads of an architecture's `[machine]`.
#[derive(Deserialize)]
pub(crate) struct MachinePaths {
    qemu: String,
    virtiofsd: String,
    share: Share,
    firmware_dirs: Vec<String>,
}

/// A bundle in the making, seen from one of its architectures.
pub(crate) struct Assembly<'a> {
    /// Of the architecture whose packages these are.
    pub(crate) rules: &'a BuildRules,
    pub(crate) names: &'a PackageNames,
    pub(crate) packages: Packages<'a>,
    pub(crate) layout: Layout,
    pub(crate) side: &'a Side,
    /// Path in the bundle → what needs it.
    pub(crate) needs: BTreeMap<String, Need>,
    pub(crate) initrd_modules: Vec<InitrdModule>,
    /// What it took to complete the programs.
    pub(crate) resolution: Resolution,
    pub(crate) progress: &'a Progress,
}

impl<'a> Assembly<'a> {
    /// Nothing is loaded yet.
    pub(crate) fn new(
        side: &'a Side,
        names: &'a PackageNames,
        packages: Packages<'a>,
        progress: &'a Progress,
    ) -> Self {
        Self {
            rules: &side.architecture.build,
            names,
            packages,
            layout: Layout::new(),
            side,
            needs: BTreeMap::new(),
            initrd_modules: Vec::new(),
            resolution: Resolution::default(),
            progress,
        }
    }

    /// QEMU, virtiofsd, their libraries, and the firmware that the guest's machine loads.
    pub(crate) fn add_programs(&mut self, machine: &MachinePaths, firmware: &[String]) -> anyhow::Result<()> {
        self.progress.step("load QEMU, virtiofsd, firmware and the libraries that they need");
        self.packages.prepare(self.names.of_host());
        for name in self.names.of_host() {
            self.packages.load(name)?;
        }
        let mut roots = vec![(machine.qemu.clone(), Need::of_itself("program of the machine"))];
        if machine.share == Share::Virtiofs {
            roots.push((machine.virtiofsd.clone(), Need::of_itself("program of the machine")));
        }
        let multiarch = &self.rules.multiarch;
        let opened = self.names.opened_files.iter().map(|path| path.replace("{multiarch}", multiarch));
        roots.extend(opened.map(|path| (path, Need::of_itself("opened by name, says the recipe"))));
        let mut paths = closure::closure(&mut self.packages, self.rules, &roots)?;
        let opened: Vec<_> = roots.into_iter().map(|(path, _)| path).collect();
        let folder = format!("usr/lib/{multiarch}/qemu");
        qemu_modules::check(self.packages.tree(), &machine.qemu, &folder, &opened)?;
        self.packages.load_copyrights()?;
        for name in firmware {
            let files = self.firmware(machine, name)?.into_iter();
            paths
                .extend(files.map(|path| (path, Need::of_itself(format!("firmware {name} of the machine")))));
        }
        self.resolution.read = Weight::of(self.packages.loaded().values());
        for (path, need) in paths {
            if let Some(node) = self.packages.tree().get(&path) {
                self.layout.add_from_package(&path, node);
                if let NodeKind::File { content, .. } = &node.kind {
                    self.resolution.files += 1;
                    self.resolution.file_bytes += content.len() as u64;
                }
                let by = need.by.map(|path| layout::asset_path(&path));
                self.needs.insert(layout::asset_path(&path), Need { by, ..need });
            }
        }
        self.progress.step(&self.resolution.to_string());
        Ok(())
    }

    /// A firmware file and the links to it. It is code of the guest's architecture, if it is code at all, and needs
    /// nothing else.
    fn firmware(&self, machine: &MachinePaths, name: &str) -> anyhow::Result<Vec<String>> {
        let mut paths = machine.firmware_dirs.iter().map(|folder| format!("{folder}/{name}"));
        let found = paths.find_map(|path| self.packages.tree().resolve(&path));
        let found = found.with_context(|| format!("no package of the recipe has the firmware {name}"))?;
        Ok(found.links.into_iter().chain([found.path]).collect())
    }

    /// The kernel as QEMU boots it, all its modules for modprobe, and the initrd with `init`.
    pub(crate) fn add_kernel(&mut self, init: &[u8], machine: &MachinePaths) -> anyhow::Result<()> {
        let image = self.load_kernel()?;
        let tree = self.packages.tree();
        let (bootable, modules) = parallel::both(
            || kernel::bootable(&image, self.rules),
            || ModuleTree::read(tree, self.rules.elf()),
        );
        let bootable = bootable.context("cannot use the kernel")?;
        self.progress.step(&format!("kernel: {} as QEMU boots it", DecimalBytes(bootable.len() as u64)));
        self.layout.asset("kernel", 0o644, bootable);
        need(&mut self.needs, "kernel", "what QEMU boots, made of the image in boot/ of the kernel package");

        let modules = modules.context("cannot use the kernel's modules")?;
        self.progress.step(&format!("{} modules of kernel {}", modules.modules.len(), modules.version));
        if let Some(release) = kernel::release(&image, self.rules).filter(|it| *it != modules.version) {
            bail!("the kernel is release {release}, and its modules are of {}", modules.version);
        }
        let folder = format!("usr/lib/modules/{}", modules.version);
        for (path, node) in tree.below(&folder) {
            // Copies of the kernel's vDSO are for debuggers, and of other architectures than ours, too.
            if !path.starts_with(&format!("{folder}/vdso/")) {
                self.layout.add_from_package(path, node);
                let need = Need::of_itself("a module or a list of the kernel, for modprobe in containers");
                self.needs.insert(layout::asset_path(path), need);
            }
        }
        for (name, content) in depmod::files(&modules) {
            let path = format!("{folder}/{name}");
            need(&mut self.needs, &path, "an index of the modules, for modprobe in containers");
            self.layout.asset(&path, 0o644, content.into());
        }

        let initrd = initrd::build(init, tree, &modules, (&self.rules.modules, machine.share))?;
        let size = DecimalBytes(initrd.bytes.len() as u64);
        self.progress.step(&format!("initrd: {size} with {} modules", initrd.modules.len()));
        self.initrd_modules = initrd.modules;
        self.layout.asset("initrd", 0o644, initrd.bytes.into());
        need(&mut self.needs, "initrd", "the guest's first root: init, and the modules that booting needs");
        Ok(())
    }

    /// Follows a meta-package to the image, and the image to its modules where they are a package of their own.
    pub(crate) fn load_kernel(&mut self) -> anyhow::Result<Bytes> {
        if let Some(image) = self.image() {
            return Ok(image);
        }
        self.progress.step("load the kernel");
        let mut package = self.packages.load(&self.names.kernel)?.name.clone();
        if self.image().is_none() {
            let Some(image) = self.packages.load_named(&package, "linux-image-")? else {
                bail!("{package} has no kernel and depends on no linux-image-…");
            };
            package = image;
        }
        self.packages.load_named(&package, "linux-modules-")?;
        self.packages.load_copyrights()?;
        self.image().with_context(|| format!("package {package} has no boot/vmlinuz-…"))
    }

    fn image(&self) -> Option<Bytes> {
        kernel::image(self.packages.tree()).cloned()
    }

    /// Refuses packages of this side that gave a file which their scripts would not leave as it is.
    pub(crate) fn check_scripts(&self) -> Result<(), UnacknowledgedScript> {
        let names: BTreeSet<&str> = self.layout.packages().collect();
        let deeds = names.into_iter().map(|name| (name, self.packages.deeds(name)));
        maintainer_scripts::check(deeds, &self.side.recipe.acknowledged)
    }

    /// What the bundle has so far; the packages are gone.
    pub(crate) fn into_layout(self) -> Layout {
        self.layout
    }

    /// The packages of this side that gave a file or a link, and the licences that SPDX has no name for.
    pub(crate) fn origins(&self) -> (Vec<PackageOrigin>, BTreeMap<String, ExtractedLicense>) {
        let names: BTreeSet<&str> = self.layout.packages().collect();
        let records = self.packages.loaded().values().filter(|record| names.contains(record.name.as_str()));
        let mut extracted = BTreeMap::new();
        let origins = records.map(|record| {
            let expression = self.packages.copyright(record).map(|text| {
                let license = copyright::license(&String::from_utf8_lossy(text), &record.source.0);
                extracted.extend(license.extracted);
                license.expression
            });
            PackageOrigin::new(record, self.side, expression)
        });
        (origins.collect(), extracted)
    }
}

/// Something that we made for a reason of its own.
fn need(needs: &mut BTreeMap<String, Need>, path: &str, how: &str) {
    needs.insert(layout::asset_path(path), Need::of_itself(how));
}
