//! What `make demo` shows once everything is in place. On the host; all output of guests goes to the user's
//! terminal as text.

use crate::docker::Docker;
use crate::report;
use anyhow::{Context, Result};
use std::fmt::Write;

const SERVER: &str = "demo-server";

/// Runs two VMs, lets them talk, and gives the text that tells about it.
///
/// # Errors
/// When one of them fails.
pub fn run(docker: &Docker, docker_host: &str) -> Result<String> {
    report::step("docker run --runtime runq busybox uname -a");
    let guest = docker.output(&["run", "--rm", "--runtime", "runq", "busybox", "uname", "-a"])?;
    report::detail(&guest);

    report::step("a web server in one VM, a client in another, Docker's bridge between them");
    docker.run(&["rm", "--force", SERVER])?;
    let serve = "mkdir /www && echo 'hello from the other VM' > /www/index.html && exec httpd -f -h /www";
    docker.output(&[
        "run",
        "--detach",
        "--name",
        SERVER,
        "--runtime",
        "runq",
        "busybox",
        "sh",
        "-c",
        serve,
    ])?;
    let address = "{{.NetworkSettings.IPAddress}}";
    let address = docker.output(&["inspect", "--format", address, SERVER])?;
    // The server's VM still boots: the client asks until it is there.
    let fetch =
        format!("for i in $(seq 60); do wget -q -O - http://{address}/ && exit; sleep 1; done; exit 1");
    let page = docker.output(&["run", "--rm", "--runtime", "runq", "busybox", "sh", "-c", &fetch])?;
    docker.output(&["rm", "--force", SERVER])?;
    report::detail(&page);

    let mut text = String::new();
    let host = rustix::system::uname();
    let host_release = host.release().to_string_lossy();
    let guest_release = guest.split(' ').nth(2).context("uname printed no kernel version")?;
    writeln!(text, "\n  kernel of this host     {host_release}")?;
    writeln!(text, "  kernel of the container {guest_release}")?;
    writeln!(text, "  fetched from VM to VM   {page}\n")?;
    write!(text, "{}", next_steps(docker_host))?;
    Ok(text)
}

/// What to type when a sandbox is up.
#[must_use]
pub fn next_steps(docker_host: &str) -> String {
    format!(
        "Next, in your shell:\n\n  export DOCKER_HOST={docker_host}\n  docker run --rm -it --runtime runq debian\n  \
         docker run --rm --runtime runq -e RUNQ_CPU=2 -e RUNQ_MEM=512 busybox nproc\n\n\
         The sandbox runs until you type `make sandbox-down`.\n"
    )
}
