//! The examples of README.md that call Docker. On the host; read from this checkout.

use crate::workspace;
use anyhow::{Context, Result};

/// How each example begins, and the end-to-end test that runs it: as it stands there, or with the same options.
pub const TESTED: [(&str, &str); 12] = [
    ("docker run --rm -it --runtime runq debian", "a_shell_in_debian"),
    ("docker run --rm --runtime runq -e RUNQ_CPU=2", "size_by_variables"),
    ("docker run -d --runtime runq -p 8080:80", "published_port_is_reached_from_the_host"),
    ("docker run --runtime runq -v /data.qcow2:", "qcow2_image_with_xfs_is_mounted_as_the_readme_says"),
    ("docker run --runtime runq --device /dev/sdb1:", "block_devices_are_mounted_or_left_to_the_container"),
    ("docker run --runtime runq --device /dev/sdb2:", "block_devices_are_mounted_or_left_to_the_container"),
    ("docker run --runtime runq -v /data.img:", "every_file_system_and_every_cache_keeps_its_data"),
    ("docker run --runtime runq --name pgserver", "database_keeps_its_data_on_a_disk"),
    ("docker run --runtime runq --link pgserver:postgres", "database_keeps_its_data_on_a_disk"),
    ("docker run --runtime runq -v /root.img:", "image_is_copied_once_and_the_disk_is_the_root_afterwards"),
    ("docker run --runtime runq --cap-add sys_module", "a_module_is_loaded"),
    ("docker create --name web", "networks_are_connected_before_the_start"),
];

/// The commands of its indented blocks in their order, a continued line as one.
///
/// # Errors
/// When there is no README.
pub fn commands() -> Result<Vec<String>> {
    let text = fs_err::read_to_string(workspace::root().join("README.md"))?.replace("\\\n", " ");
    let lines = text.lines().filter_map(|line| line.strip_prefix("    ")).map(str::trim);
    Ok(lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect())
}

/// The one command that begins like this.
///
/// # Errors
/// When there is none.
pub fn command(start: &str) -> Result<String> {
    let found = commands()?.into_iter().find(|command| command.starts_with(start));
    found.with_context(|| format!("README.md has no example {start} …"))
}
