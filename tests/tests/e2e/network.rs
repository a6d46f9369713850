//! The container's network is Docker's: addresses, bridge, published ports, none.

use anyhow::{Context, Result};
use runq_tests::bed::Bed;
use runq_tests::command::wait_until;
use runq_tests::docker::LIMIT;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const SERVE: &str =
    "mkdir /www && echo page of the guest > /www/index.html && echo ready && exec httpd -f -h /www";

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn two_containers_talk_over_the_bridge() -> Result<()> {
    let bed = Bed::shared()?;
    let server = bed.container().start_shell(SERVE, "ready")?;
    let fetch =
        format!("for i in 1 2 3 4 5; do wget -q -O - http://{}/ && exit; sleep 1; done", server.address()?);
    assert_eq!(bed.container().shell_output(&fetch)?, "page of the guest");
    assert_eq!(bed.container().runtime("runc").shell_output(&fetch)?, "page of the guest");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn published_port_is_reached_from_the_host() -> Result<()> {
    let bed = Bed::shared()?;
    let server = bed.container().options(&["-p", "127.0.0.1::80"]).start_shell(SERVE, "ready")?;
    let address = bed.docker.output(&["port", &server.name, "80"])?;
    let mut page = Err(anyhow::anyhow!("not asked yet"));
    wait_until("the published port", Duration::from_secs(10), || {
        page = fetch(&address);
        page.is_ok()
    })?;
    assert!(page?.ends_with("page of the guest\n"));
    Ok(())
}

fn fetch(address: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    page.contains("200 OK").then_some(page).context("no page")
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn interface_has_dockers_addresses_and_route() -> Result<()> {
    let bed = Bed::shared()?;
    let container =
        bed.container().start_shell("ip address show eth0; ip route; echo done; sleep 1000", "done")?;
    let logs = container.logs()?;
    let gateway = container.inspect("{{.NetworkSettings.Gateway}}")?;
    let mac = container.inspect("{{.NetworkSettings.MacAddress}}")?;
    for expected in
        [format!("inet {}/24", container.address()?), mac, format!("default via {gateway} dev eth0")]
    {
        assert!(logs.contains(&expected), "no {expected:?} in {logs}");
    }
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn without_a_network_there_is_the_loopback_only() -> Result<()> {
    let bed = Bed::shared()?;
    let list = "ls /sys/class/net; ping -c 1 127.0.0.1 > /dev/null && echo loopback works";
    let list = bed.container().options(&["--network", "none"]).shell_output(list)?;
    assert_eq!(list, "lo\nloopback works");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn custom_network_with_two_interfaces_keeps_their_names() -> Result<()> {
    let bed = Bed::shared()?;
    let network = runq_tests::bed::unique_name();
    bed.docker.output(&["network", "create", &network])?;
    let addresses = bed
        .container()
        .options(&["--network", &network])
        .shell_output("ip -o -4 address show | grep -c eth0");
    bed.docker.output(&["network", "rm", &network])?;
    assert_eq!(addresses?, "1");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn many_bytes_cross_the_network_unharmed() -> Result<()> {
    let bed = Bed::shared()?;
    let script = "mkdir /www && head -c 8388608 /dev/urandom > /www/blob && sha256sum < /www/blob && echo ready && exec httpd -f -h /www";
    let server = bed.container().start_shell(script, "ready")?;
    let fetch = format!("wget -q -O - http://{}/blob | sha256sum", server.address()?);
    let fetched = bed.container().shell_output(&fetch)?;
    assert!(server.logs()?.contains(&fetched), "{fetched}");
    wait_until("the server to run on", LIMIT, || {
        server.inspect("{{.State.Running}}").is_ok_and(|up| up == "true")
    })
}
