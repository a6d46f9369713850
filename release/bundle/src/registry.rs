//! How bundles lie in an OCI registry: an image index with one manifest for each platform, whose only layer is the bundle.
//! Written on the build machine, read on the host; nothing here is trusted: the bundle's own signature decides. Pure.

/// Of the manifests and of the index, by which other programs know what this is.
pub const ARTIFACT_TYPE: &str = "application/vnd.runq.bundle.v1";

/// Of the one layer.
pub const LAYER_TYPE: &str = "application/vnd.runq.bundle.v1.tar+zstd";

/// Annotation of an entry of the index: `x86_64`, or `x86_64+s390x` when host and guest differ.
pub const ARCH_ANNOTATION: &str = "org.runq.arch";

/// Annotation of a layer: the bundle's file name.
pub const TITLE_ANNOTATION: &str = "org.opencontainers.image.title";

/// The architecture as OCI spells it.
#[must_use]
pub fn oci_arch(arch: &str) -> &str {
    if arch == "x86_64" { "amd64" } else { arch }
}

/// Plain HTTP is what registries on this machine speak; all others have to use TLS.
#[must_use]
pub fn is_local(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

/// User and password of a registry in a `config.json` of Docker's (`auths`).
#[must_use]
pub fn credentials(config_json: &[u8], registry: &str) -> Option<(String, String)> {
    use base64::Engine;
    let config: serde_json::Value = serde_json::from_slice(config_json).ok()?;
    let auth = config.get("auths")?.get(registry)?.get("auth")?.as_str()?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(auth).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_local() {
        for local in ["localhost", "localhost:5000", "127.0.0.1:5000", "[::1]:5000"] {
            assert!(is_local(local), "{local}");
        }
        for remote in ["registry.example.com", "localhost.example.com:5000", "10.0.0.1:5000"] {
            assert!(!is_local(remote), "{remote}");
        }
    }

    #[test]
    fn reads_what_docker_login_has_written() {
        let config = br#"{"auths":{"r.example:5000":{"auth":"bWU6czplY3JldA=="},"other":{}}}"#;
        assert_eq!(credentials(config, "r.example:5000"), Some(("me".into(), "s:ecret".into())));
        assert_eq!(credentials(config, "other"), None);
        assert_eq!(credentials(b"not JSON", "other"), None);
    }
}
