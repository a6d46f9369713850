//! Which modules the initrd has to carry, and in which order `init` loads them.
//! Runs on the build machine.

use crate::kernel_modules::{Module, ModuleError, ModuleTree};
use crate::provenance::Need;
use crate::recipe::{ModuleGroup, Share};
use std::collections::BTreeSet;

/// A module of the initrd.
#[derive(Debug, Clone)]
pub(crate) struct Loaded<'a> {
    pub(crate) module: &'a Module,
    /// A path in the guest's /sys without which it is not loaded.
    pub(crate) when: Option<&'a str>,
    /// Why it is there.
    pub(crate) need: Need,
}

/// For guests of this share, or for all.
pub(crate) type ModuleList<'a> = (Option<Share>, Vec<Loaded<'a>>);

/// What every guest loads, and for each share what only that one needs besides.
pub(crate) fn lists<'a>(
    tree: &'a ModuleTree,
    groups: &'a [ModuleGroup],
    shares: &[Share],
) -> Result<Vec<ModuleList<'a>>, ModuleError> {
    let common = load_order(tree, groups, None)?;
    let is_common =
        |module: &Module| common.iter().any(|it| it.when.is_none() && it.module.name == module.name);
    let mut lists = Vec::new();
    for share in shares {
        let mut own = load_order(tree, groups, Some(*share))?;
        own.retain(|loaded| loaded.when.is_none() && !is_common(loaded.module));
        lists.push((Some(*share), own));
    }
    lists.insert(0, (None, common));
    Ok(lists)
}

/// The modules of the groups that go with any share and with this one, with what they need; each comes after what it needs. What is built in
/// is left out, and what the kernel lacks of the optional ones. Groups with a condition come last, so that what others need, too, is loaded in any case.
fn load_order<'a>(
    tree: &'a ModuleTree,
    groups: &'a [ModuleGroup],
    share: Option<Share>,
) -> Result<Vec<Loaded<'a>>, ModuleError> {
    let mut order = Order { tree, begun: BTreeSet::new(), modules: Vec::new() };
    let mut groups: Vec<_> =
        groups.iter().filter(|group| group.share.is_none() || group.share == share).collect();
    groups.sort_by_key(|group| group.when.is_some());
    for group in groups {
        let when = group.when.as_deref();
        let need = || Need::of_itself(format!("module group {}", group.group));
        for name in &group.required {
            match tree.get(name) {
                Some(module) => order.add(module, when, need())?,
                None if tree.is_built_in(name) => {}
                None => return Err(ModuleError::Missing { group: group.group.clone(), name: name.clone() }),
            }
        }
        for module in group.optional.iter().filter_map(|name| tree.get(name)) {
            order.add(module, when, need())?;
        }
    }
    Ok(order.modules)
}

struct Order<'a> {
    tree: &'a ModuleTree,
    /// Names of the modules that are in `modules` or about to be: soft dependencies may form cycles.
    begun: BTreeSet<&'a str>,
    modules: Vec<Loaded<'a>>,
}

impl<'a> Order<'a> {
    fn add(&mut self, module: &'a Module, when: Option<&'a str>, need: Need) -> Result<(), ModuleError> {
        if !self.begun.insert(&module.name) {
            return Ok(());
        }
        for needed in self.tree.dependencies(module) {
            self.add(needed?, when, Need::by(&module.name, "depends"))?;
        }
        for wanted in self.soft(module, "pre:") {
            self.add(wanted, when, Need::by(&module.name, "softdep"))?;
        }
        self.modules.push(Loaded { module, when, need });
        for wanted in self.soft(module, "post:") {
            self.add(wanted, when, Need::by(&module.name, "softdep"))?;
        }
        Ok(())
    }

    /// Soft dependencies name modules or aliases (`crypto-crc32c`); one that nothing answers to is no error.
    fn soft(&self, module: &Module, list: &str) -> Vec<&'a Module> {
        let mut current = "";
        let mut found = Vec::new();
        for word in module.soft_dependencies.iter().flat_map(|text| text.split_whitespace()) {
            if word.ends_with(':') {
                current = word;
            } else if current == list && !self.tree.is_built_in(word) {
                let named = self.tree.get(word).into_iter();
                let answering =
                    self.tree.modules.iter().filter(|module| module.aliases.iter().any(|a| a == word));
                found.extend(named.chain(answering));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(name: &str, depends: &[&str], alias: &str, soft: &str) -> Module {
        let owned = |text: &str| (!text.is_empty()).then(|| text.to_owned()).into_iter().collect();
        Module {
            name: name.to_owned(),
            path: format!("kernel/{name}.ko"),
            depends: depends.iter().map(|&name| name.to_owned()).collect(),
            aliases: owned(alias),
            soft_dependencies: owned(soft),
        }
    }

    fn tree() -> ModuleTree {
        let modules = vec![
            module("virtio_net", &["net_failover", "virtio"], "", ""),
            module("net_failover", &["failover"], "", ""),
            module("failover", &[], "", ""),
            module("btrfs", &[], "", "pre: crypto-crc32c gone post: zstd"),
            module("crc32c_generic", &[], "crypto-crc32c", "pre: btrfs"),
            module("zstd", &[], "", ""),
            module("broken", &["nowhere"], "", ""),
        ];
        ModuleTree { version: "6".to_owned(), modules, built_in: ["virtio".to_owned()].into() }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    /// Names in order; what has a condition with it.
    fn order_of(groups: &[ModuleGroup]) -> Result<Vec<String>, ModuleError> {
        let tree = tree();
        let modules = load_order(&tree, groups, Some(Share::Virtiofs))?;
        let name = |loaded: &Loaded<'_>| {
            [Some(loaded.module.name.as_str()), loaded.when]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" when ")
        };
        Ok(modules.iter().map(name).collect())
    }

    fn order(required: &[&str]) -> Result<Vec<String>, ModuleError> {
        let group =
            ModuleGroup { group: "test".to_owned(), required: names(required), ..ModuleGroup::default() };
        let other = ModuleGroup {
            group: "other".to_owned(),
            share: Some(Share::NineP),
            required: names(&["nowhere"]),
            ..ModuleGroup::default()
        };
        order_of(&[group, other])
    }

    #[test]
    fn a_module_comes_after_what_it_needs_and_built_in_ones_are_left_out() {
        assert_eq!(order(&["virtio", "virtio-net"]).unwrap(), ["failover", "net_failover", "virtio_net"]);
    }

    #[test]
    fn soft_dependencies_are_found_by_alias() {
        assert_eq!(order(&["btrfs"]).unwrap(), ["crc32c_generic", "btrfs", "zstd"]);
    }

    #[test]
    fn reports_what_does_not_exist() {
        assert!(matches!(order(&["virtiofs"]), Err(ModuleError::Missing { .. })));
        assert!(matches!(order(&["broken"]), Err(ModuleError::Dependency { .. })));
    }

    #[test]
    fn optional_modules_may_be_absent_or_built_in() {
        let optional = names(&["nowhere", "virtio", "zstd"]);
        assert_eq!(order_of(&[ModuleGroup { optional, ..ModuleGroup::default() }]).unwrap(), ["zstd"]);
        let optional = names(&["broken"]);
        assert!(order_of(&[ModuleGroup { optional, ..ModuleGroup::default() }]).is_err());
    }

    #[test]
    fn a_condition_holds_for_what_nobody_else_needs() {
        let conditional = ModuleGroup {
            when: Some("/sys/bus/ap".to_owned()),
            optional: names(&["virtio_net", "zstd"]),
            ..ModuleGroup::default()
        };
        let plain = ModuleGroup { required: names(&["failover"]), ..ModuleGroup::default() };
        let expected = [
            "failover",
            "net_failover when /sys/bus/ap",
            "virtio_net when /sys/bus/ap",
            "zstd when /sys/bus/ap",
        ];
        assert_eq!(order_of(&[conditional, plain]).unwrap(), expected);
    }

    #[test]
    fn each_share_has_what_only_it_needs() {
        let group = |share, required: &[&str], when: Option<&str>| ModuleGroup {
            share,
            required: names(required),
            when: when.map(str::to_owned),
            ..ModuleGroup::default()
        };
        let groups = [
            group(Some(Share::NineP), &["virtio_net", "zstd"], None),
            group(Some(Share::Virtiofs), &["btrfs"], None),
            group(None, &["failover"], None),
            group(None, &["zstd"], Some("/sys/bus/ap")),
        ];
        let tree = tree();
        let lists = lists(&tree, &groups, &[Share::Virtiofs, Share::NineP]).unwrap();
        let found: Vec<_> = lists
            .iter()
            .map(|(share, list)| {
                (*share, list.iter().map(|loaded| loaded.module.name.as_str()).collect::<Vec<_>>().join(" "))
            })
            .collect();
        let expected = [
            (None, "failover zstd"),
            (Some(Share::Virtiofs), "crc32c_generic btrfs zstd"),
            (Some(Share::NineP), "net_failover virtio_net zstd"),
        ];
        assert_eq!(found, expected.map(|(share, list)| (share, list.to_owned())));
    }
}
