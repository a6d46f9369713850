//! What `--base-image` names. Pure, but for a look at what is at a path.

use crate::base_image::oci::parse_digest;
use oci_distribution::Reference;
use runq_bundle::digest::Sha256Digest;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where a base image comes from. A digest pins index, manifest or configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ImageSource {
    /// No base image: all is taken from the archive.
    None,
    /// A registry.
    Registry(Reference),
    /// An OCI layout directory.
    Layout(PathBuf, Option<Sha256Digest>),
    /// A tar archive as `docker save` writes it.
    Archive(PathBuf, Option<Sha256Digest>),
}

/// Neither a path that exists nor a reference.
#[derive(Debug, thiserror::Error)]
#[error(
    "{text:?} is no base image: {why}; expected a reference (docker.io/library/ubuntu:24.04), an OCI layout directory, \
     an archive of docker save, or none"
)]
pub(crate) struct ParseSourceError {
    text: String,
    why: String,
}

impl FromStr for ImageSource {
    type Err = ParseSourceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |why: String| ParseSourceError { text: text.to_owned(), why };
        if text == "none" {
            return Ok(Self::None);
        }
        if let Some(reference) = text.strip_prefix("docker://") {
            return Ok(Self::Registry(parse_reference(reference).map_err(fail)?));
        }
        let forms = [("oci:", true), ("docker-archive:", false), ("oci-archive:", false)];
        let form =
            forms.iter().find_map(|(prefix, layout)| Some((text.strip_prefix(prefix)?, Some(*layout))));
        let (place, layout) = form.unwrap_or((text, None));
        let (path, pin) = match place.rsplit_once("@sha256:") {
            Some((path, hex)) => {
                (path, Some(parse_digest(&format!("sha256:{hex}")).map_err(|error| fail(error.to_string()))?))
            }
            None => (place, None),
        };
        let found = Path::new(path);
        let is_path = form.is_some() || path.starts_with(['/', '.']);
        match layout.unwrap_or_else(|| found.is_dir()) {
            _ if is_path && !found.exists() => Err(fail("there is no such path".to_owned())),
            true if found.join("index.json").exists() => Ok(Self::Layout(found.to_owned(), pin)),
            true if is_path => Err(fail("the directory has no index.json".to_owned())),
            false if is_path || found.is_file() => Ok(Self::Archive(found.to_owned(), pin)),
            _ => Ok(Self::Registry(parse_reference(text).map_err(fail)?)),
        }
    }
}

fn parse_reference(text: &str) -> Result<Reference, String> {
    text.parse::<Reference>().map_err(|error| error.to_string())
}

impl fmt::Display for ImageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |f: &mut fmt::Formatter<'_>, path: &Path, pin: Option<Sha256Digest>| {
            write!(f, "{}", path.display())?;
            pin.map_or(Ok(()), |pin| write!(f, "@sha256:{pin}"))
        };
        match self {
            Self::None => f.write_str("none"),
            Self::Registry(reference) => f.write_str(&reference.whole()),
            Self::Layout(path, pin) | Self::Archive(path, pin) => place(f, path, *pin),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_registries_directories_and_archives_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let parse = |text: &str| text.parse::<ImageSource>();
        assert_eq!(parse("none").unwrap(), ImageSource::None);
        assert!(parse(path).unwrap_err().to_string().contains("no index.json"));
        assert!(parse(&format!("{path}/x.tar")).unwrap_err().to_string().contains("no such path"));
        fs_err::write(folder.path().join("index.json"), "{}").unwrap();
        fs_err::write(folder.path().join("x.tar"), "").unwrap();
        assert_eq!(parse(path).unwrap(), ImageSource::Layout(path.into(), None));
        let archive = format!("{path}/x.tar");
        for text in [archive.clone(), format!("docker-archive:{archive}")] {
            assert_eq!(parse(&text).unwrap(), ImageSource::Archive(archive.clone().into(), None));
        }
        let pin = format!("sha256:{}", "a".repeat(64));
        let ImageSource::Layout(_, Some(_)) = parse(&format!("{path}@{pin}")).unwrap() else { panic!() };
        for (text, whole) in [
            ("ubuntu:24.04", "docker.io/library/ubuntu:24.04"),
            ("docker://ubuntu", "docker.io/library/ubuntu:latest"),
            ("127.0.0.1:5000/a/b:c", "127.0.0.1:5000/a/b:c"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), whole);
        }
        let pinned = format!("ghcr.io/a/b@{pin}");
        assert_eq!(parse(&pinned).unwrap().to_string(), pinned);
        assert!(parse("Not A Reference").is_err());
        assert!(parse("a/b@sha256:12").is_err());
    }
}
