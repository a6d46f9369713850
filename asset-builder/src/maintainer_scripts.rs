//! What a package's maintainer scripts would do to the files that a bundle takes from it. They are never run: a script that
//! moves files of other packages (dpkg-divert(1)) or adds links (update-alternatives(1)) ends the build, until the recipe
//! says why that does not matter. Runs on the build machine.

use std::collections::BTreeMap;

/// The scripts that run while a package is being installed.
pub(crate) const SCRIPTS: [&str; 2] = ["preinst", "postinst"];

/// A command that would matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deed {
    pub(crate) script: &'static str,
    pub(crate) command: String,
}

/// A package whose files may be others after installation than they are in the .deb.
#[derive(Debug, thiserror::Error)]
#[error(
    "the {} of package {package} would run `{}`, and a bundle is made without running it", deed.script, deed.command
)]
pub(crate) struct UnacknowledgedScript {
    package: String,
    deed: Deed,
}

/// The commands of a script that divert files or add alternatives. What only takes such back changes nothing here.
pub(crate) fn deeds(script: &'static str, text: &str) -> Vec<Deed> {
    let text = text.replace("\\\n", " ");
    let commands = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let matters = commands.filter(|line| {
        let diverts = line.contains("dpkg-divert") && !line.contains("--remove") && !line.contains("--list");
        diverts || line.contains("update-alternatives") && line.contains("--install")
    });
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    matters.map(|line| Deed { script, command: words(line) }).collect()
}

/// Refuses the first of these packages that does something which the recipe does not acknowledge.
pub(crate) fn check<'a>(
    packages: impl Iterator<Item = (&'a str, &'a [Deed])>,
    acknowledged: &BTreeMap<String, String>,
) -> Result<(), UnacknowledgedScript> {
    for (package, deeds) in packages {
        if let Some(deed) = deeds.first()
            && !acknowledged.contains_key(package)
        {
            return Err(UnacknowledgedScript { package: package.to_owned(), deed: deed.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "#!/bin/sh\n# dpkg-divert --add /not/this\ncase \"$1\" in\n  configure)\n\
        \tdpkg-divert --package x --no-rename --remove \\\n\t    /usr/share/x\n\
        \tdpkg-divert --quiet \\\n\t    --add /usr/lib/y\n\
        \tupdate-alternatives --remove editor /usr/bin/x\n\
        \tupdate-alternatives --install /usr/bin/editor editor /usr/bin/x 50\n;;\nesac\n";

    #[test]
    fn finds_what_moves_files_and_not_what_takes_it_back() {
        let found: Vec<_> = deeds("preinst", SCRIPT).into_iter().map(|deed| deed.command).collect();
        assert_eq!(
            found,
            [
                "dpkg-divert --quiet --add /usr/lib/y",
                "update-alternatives --install /usr/bin/editor editor /usr/bin/x 50"
            ]
        );
        assert!(deeds("postinst", "#!/bin/sh\nldconfig\n").is_empty());
    }

    #[test]
    fn refuses_by_name_until_the_recipe_acknowledges() {
        let deeds = deeds("preinst", SCRIPT);
        let packages = || [("libz", &[][..]), ("x", &deeds[..])].into_iter();
        let error = check(packages(), &BTreeMap::new()).unwrap_err().to_string();
        assert!(
            error.starts_with("the preinst of package x would run `dpkg-divert --quiet --add"),
            "{error}"
        );
        let acknowledged = BTreeMap::from([("x".to_owned(), "no such file here".to_owned())]);
        check(packages(), &acknowledged).unwrap();
    }
}
