//! How bundles lie in an OCI registry: an image index with one manifest for each platform, whose only layer is the bundle.
//! Written on the build machine, read on the host; nothing here is trusted: the bundle's own signature decides.

mod credentials;
mod memory_bound;

pub use credentials::{Credentials, CredentialsError};
pub use memory_bound::MemoryBound;

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
    let host = match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => registry.rsplit_once(':').map_or(registry, |(host, _)| host),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_local() {
        for local in ["localhost", "localhost:5000", "127.0.0.1", "127.8.9.1:5000", "[::1]:5000"] {
            assert!(is_local(local), "{local}");
        }
        for remote in ["registry.example.com", "localhost.example.com:5000", "10.0.0.1:5000"] {
            assert!(!is_local(remote), "{remote}");
        }
    }
}
