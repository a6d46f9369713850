//! The test bed: a private Docker daemon with runq installed, and the means to ask it questions.
//! Runs on the host as root, for the tests below `tests/` and for the `sandbox` program. It imports no library
//! of the product and uses the released binaries only, as a user would.

pub mod apt;
pub mod asset_bench;
pub mod assets;
pub mod bare_qemu;
pub mod bed;
pub mod bench;
pub mod bundle;
pub mod command;
pub mod connect_proxy;
pub mod daemon;
pub mod demo;
pub mod disk_image;
pub mod distribution;
pub mod docker;
pub mod docker_release;
pub mod faults;
pub mod firewall;
pub mod host;
pub mod http_server;
pub mod https_server;
pub mod images;
pub mod installation;
pub mod installer_bench;
pub mod link;
mod measure;
pub mod mounted;
pub mod oci_layout;
pub mod open_pgp;
pub mod power_loss;
pub mod readme;
pub mod registry;
pub mod report;
pub mod s390x_host;
pub mod sandbox;
pub mod sandbox_runtime;
pub mod sbom;
pub mod service_images;
pub mod small_bundle;
pub mod soak;
pub mod successor;
pub mod terminal;
pub mod trial;
pub mod ubuntu_archive;
pub mod unix_sockets_only;
pub mod workspace;
