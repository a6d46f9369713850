//! End-to-end tests: the real Docker, a real VM. One behaviour per file; one program, so that it is linked once
//! and tests that need the host for themselves can keep the others away. On the host as root, in the sandbox.
//!
//! `RUNQ_TEST_RUNTIME` names the runtime under test (`runq` when absent), `RUNQ_TEST_IMAGE` an image with busybox for it.

mod air_gap;
mod assets_base_image;
mod assets_both;
mod assets_inspect;
mod assets_network;
mod assets_refusals;
mod assets_ubuntu;
mod bundle;
mod confinement;
mod daemon_json;
mod delegate;
mod disks;
mod dns;
mod exit_code;
mod failure;
mod hostile_image;
mod identity;
mod install_disk;
mod install_faults;
mod install_hostile;
mod install_live;
mod install_network;
mod install_power_loss;
mod install_sources;
mod leftovers;
mod life_cycle;
mod modules;
mod network;
mod network_kinds;
mod nine_p;
mod other_engines;
mod output;
mod parallel;
mod postgresql;
mod read_only;
mod readme;
mod root_disk;
mod seccomp;
mod service_manager;
mod settings;
mod signals;
mod sigusr;
mod sizing;
mod soak;
mod terminal;
mod virtiofs;
mod volume;
