//! What `docker save` wrote: an OCI layout in a tar archive, or the old form, a `manifest.json` that names layers.
//! Runs on the build machine; trusts the digest of the configuration, which pins the layers.

use crate::base_image::BaseImageError;
use crate::base_image::oci::{self, Config, Image};
use crate::base_image::store::TarFile;
use runq_bundle::digest::{Sha256Digest, sha256};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// The image of an architecture; `pin` is the digest of its index, manifest or configuration.
pub(crate) fn image(store: &TarFile, pin: Option<Sha256Digest>, arch: &str) -> Result<Image, BaseImageError> {
    if store.has("index.json") {
        return oci::image(store, &super::top(store, pin)?, arch);
    }
    let list: Vec<Saved> = oci::parse("manifest.json", &oci::read_unchecked(store, "manifest.json")?)?;
    let mut found = Vec::new();
    let mut refused = None;
    for saved in &list {
        match old_image(store, saved, arch) {
            Ok(image) if pin.is_none_or(|pin| pin == image.digest) => found.push((saved, image)),
            Ok(_) => {}
            Err(error) => refused = Some(error),
        }
    }
    let first = found.pop();
    if !found.is_empty() {
        let tags = list.iter().flat_map(|saved| saved.repo_tags.iter().flatten());
        let digests = tags.cloned().collect::<Vec<_>>().join(", ");
        return Err(BaseImageError::Ambiguous { arch: arch.to_owned(), digests });
    }
    let none = || BaseImageError::NoImage { arch: arch.to_owned(), found: "others".to_owned() };
    first.map(|(_, image)| image).ok_or_else(|| refused.unwrap_or_else(none))
}

fn old_image(store: &TarFile, saved: &Saved, arch: &str) -> Result<Image, BaseImageError> {
    let json = oci::read_unchecked(store, &saved.config)?;
    let found = sha256(&json);
    // `<digest>.json`, or the path of a blob.
    let name = saved.config.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
    if let Ok(expected) = name.parse::<Sha256Digest>()
        && expected != found
    {
        return Err(BaseImageError::Mismatch { expected, found, size: json.len() });
    }
    let config = Config::parse(&saved.config, &json, arch)?;
    let parts = saved.layers.iter().map(|path| (path.clone(), None)).collect();
    Ok(Image { digest: found, layers: config.layers(parts)? })
}
