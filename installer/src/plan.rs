//! What is there, what should be, and therefore what has to be done. Pure: the same plan is shown by `--dry-run` and
//! carried out by `transaction`.

use crate::layout::{Layout, STABLE_LINKS};
use crate::receipt::{DockerReceipt, EngineReceipt, Receipt};

/// State of the version's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tree {
    /// There is none.
    Absent,
    /// All that the manifest lists, and nothing else.
    Complete,
    /// It differs; in what, for people.
    Damaged(Vec<String>),
    /// It differs in nothing but what copying loses, and the manifest knows; in what, for people.
    Mendable(Vec<String>),
}

/// What a prefix holds.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) tree: Tree,
    /// Targets of `current` and of the stable links, in their order; `None` for what is no link.
    pub(crate) current: Option<String>,
    pub(crate) stable: [Option<String>; STABLE_LINKS.len()],
    pub(crate) receipt: Option<Receipt>,
}

impl Found {
    /// The version that `current` leads to.
    pub(crate) fn active(&self) -> Option<&str> {
        self.current.as_deref().and_then(Layout::version_of_target)
    }

    /// Our entries so far.
    pub(crate) fn docker(&self) -> Vec<DockerReceipt> {
        self.receipt.as_ref().map(|receipt| receipt.docker.clone()).unwrap_or_default()
    }

    /// Those of other engines.
    pub(crate) fn engines(&self) -> Vec<EngineReceipt> {
        self.receipt.as_ref().map(|receipt| receipt.engines.clone()).unwrap_or_default()
    }

    /// What `rollback` goes back to when `id` is active.
    pub(crate) fn previous(&self, id: &str) -> Option<String> {
        // A run that ended between the switch and the receipt has left that of the version before.
        let receipt = self.receipt.as_ref();
        let by_receipt = receipt.and_then(|receipt| {
            if receipt.version == id { receipt.previous.clone() } else { Some(receipt.version.clone()) }
        });
        let active = self.active().filter(|active| *active != id);
        active.map(str::to_owned).or(by_receipt).filter(|previous| previous != id)
    }
}

/// One thing to do in the prefix. Done in this order, each leaves the old or the new version working.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Extract the bundle, and give it its name.
    Stage,
    /// The same, in exchange for a damaged tree.
    Restage { damage: Vec<String> },
    /// Give a copied tree its modes, owners and links.
    Mend { damage: Vec<String> },
    /// Let `current` lead to the version.
    Activate { from: Option<String> },
    /// Create one of the stable links.
    Link { name: &'static str, target: &'static str },
    /// Write the receipt.
    WriteReceipt,
}

/// The steps that are needed; none when everything is as it should be.
pub(crate) fn plan(found: &Found, wanted: &Receipt) -> Vec<Step> {
    let mut steps = Vec::new();
    match &found.tree {
        Tree::Complete => {}
        Tree::Absent => steps.push(Step::Stage),
        Tree::Damaged(damage) => steps.push(Step::Restage { damage: damage.clone() }),
        Tree::Mendable(damage) => steps.push(Step::Mend { damage: damage.clone() }),
    }
    if found.current.as_deref() != Some(Layout::current_target(&wanted.version).as_str()) {
        steps.push(Step::Activate { from: found.active().map(str::to_owned) });
    }
    for ((name, target), found) in STABLE_LINKS.into_iter().zip(&found.stable) {
        if found.as_deref() != Some(target) {
            steps.push(Step::Link { name, target });
        }
    }
    if found.receipt.as_ref() != Some(wanted) {
        steps.push(Step::WriteReceipt);
    }
    steps
}

impl Step {
    /// One line for people, in the present tense.
    pub(crate) fn describe(&self, version: &str) -> String {
        match self {
            Self::Stage => format!("extract versions/{version}"),
            Self::Restage { damage } => {
                format!("extract versions/{version} again: {}", damage.first().map_or("", String::as_str))
            }
            Self::Mend { damage } => {
                let first = damage.first().map_or("", String::as_str);
                format!("mend versions/{version}: {} differences, the first: {first}", damage.len())
            }
            Self::Activate { from: None } => format!("activate {version}"),
            Self::Activate { from: Some(from) } => format!("activate {version} in place of {from}"),
            Self::Link { name, target } => format!("link {name} to {target}"),
            Self::WriteReceipt => "write receipt.json".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Receipt {
        Receipt {
            format: 1,
            version: "1.0.0-aa".into(),
            signed_by: "K".into(),
            previous: None,
            docker: Vec::new(),
            engines: Vec::new(),
        }
    }

    fn nothing() -> Found {
        Found { tree: Tree::Absent, current: None, stable: [None, None], receipt: None }
    }

    fn complete() -> Found {
        Found {
            tree: Tree::Complete,
            current: Some("versions/1.0.0-aa".into()),
            stable: STABLE_LINKS.map(|(_, target)| Some(target.to_owned())),
            receipt: Some(wanted()),
        }
    }

    #[test]
    fn does_everything_where_there_is_nothing() {
        let steps = plan(&nothing(), &wanted());
        let described: Vec<_> = steps.iter().map(|step| step.describe("1.0.0-aa")).collect();
        assert_eq!(
            described,
            [
                "extract versions/1.0.0-aa",
                "activate 1.0.0-aa",
                "link runq to current/runq",
                "link qemu to current/qemu",
                "write receipt.json",
            ]
        );
    }

    #[test]
    fn does_nothing_where_everything_is_done() {
        assert_eq!(plan(&complete(), &wanted()), []);
    }

    #[test]
    fn continues_where_an_earlier_run_stopped() {
        let mut found = complete();
        found.receipt = None;
        assert_eq!(plan(&found, &wanted()), [Step::WriteReceipt]);
        found.stable[0] = None;
        found.current = None;
        let steps = plan(&found, &wanted());
        assert_eq!(steps[0], Step::Activate { from: None });
        assert_eq!(steps.len(), 3);
    }

    #[test]
    fn an_upgrade_names_the_version_that_it_replaces() {
        let mut found = complete();
        found.tree = Tree::Absent;
        found.current = Some("versions/0.9.0-bb".into());
        let steps = plan(&found, &wanted());
        assert_eq!(steps, [Step::Stage, Step::Activate { from: Some("0.9.0-bb".into()) }]);
    }

    #[test]
    fn repairs_damage_and_foreign_links() {
        let mut found = complete();
        found.tree = Tree::Damaged(vec!["\"runq\" is missing".into()]);
        found.stable[1] = Some("/somewhere/else".into());
        let steps = plan(&found, &wanted());
        assert!(matches!(&steps[0], Step::Restage { damage } if damage.len() == 1));
        assert_eq!(steps[1], Step::Link { name: "qemu", target: "current/qemu" });
    }

    #[test]
    fn remembers_the_version_before() {
        let mut found = complete();
        assert_eq!(found.previous("1.0.0-aa"), None);
        assert_eq!(found.previous("1.1.0-bb").as_deref(), Some("1.0.0-aa"));
        found.receipt.as_mut().unwrap().previous = Some("0.9.0-cc".into());
        assert_eq!(found.previous("1.0.0-aa").as_deref(), Some("0.9.0-cc"));
        assert_eq!(found.previous("1.1.0-bb").as_deref(), Some("1.0.0-aa"));
    }
}
