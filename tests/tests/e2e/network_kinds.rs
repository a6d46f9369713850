//! Networks beyond Docker's default bridge: macvlan, several at once, IPv6, chosen addresses, MTU, links.

use anyhow::Result;
use runq_tests::bed::{Bed, Network};

const SERVE: &str = "mkdir /www && echo page > /www/index.html && echo ready && exec httpd -f -h /www";

fn fetch(address: &str) -> String {
    format!("for i in 1 2 3 4 5 6; do wget -q -O - http://{address}/ && exit; sleep 1; done")
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn macvlan_network_carries_runq_and_runc() -> Result<()> {
    let bed = Bed::shared()?;
    let parent = runq_tests::link::Veth::new()?;
    let option = format!("parent={}", parent.name());
    let network = Network::new(&bed, &["-d", "macvlan", "-o", &option, "--subnet", "198.51.100.0/24"])?;
    let options = ["--network", &network.name, "--ip", "198.51.100.77"];
    let server = bed.container().options(&options).start_shell(
        "ip -o address show eth0; ip link show eth0; mkdir /www; echo page > /www/index.html; echo ready; exec httpd -f -h /www",
        "ready",
    )?;
    let logs = server.logs()?;
    assert!(logs.contains("198.51.100.77/24"), "{logs}");
    let client = || bed.container().options(&["--network", &network.name]);
    assert_eq!(client().shell_output(&fetch("198.51.100.77"))?, "page");
    assert_eq!(client().runtime("runc").shell_output(&fetch("198.51.100.77"))?, "page");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn several_networks_with_ipv6_and_mtu_keep_names_addresses_and_routes() -> Result<()> {
    let bed = Bed::shared()?;
    let first =
        Network::new(&bed, &["--subnet", "198.18.7.0/24", "-o", "com.docker.network.driver.mtu=1400"])?;
    let second =
        Network::new(&bed, &["--ipv6", "--subnet", "198.18.8.0/24", "--subnet", "fd00:7297:8::/64"])?;
    let script = "ip -o address; ip -o link; ip route; ip -6 route; mkdir /www; echo page > /www/index.html; echo ready; \
                  exec httpd -f -h /www";
    let create = ["--network", &first.name, "--ip", "198.18.7.7"];
    let server = bed.container().options(&create).create(&["sh", "-c", script])?;
    bed.docker.output(&["network", "connect", "--ip6", "fd00:7297:8::7", &second.name, &server.name])?;
    bed.docker.output(&["start", &server.name])?;
    server.wait_for("ready")?;
    let logs = server.logs()?;
    for expected in
        ["inet 198.18.7.7/24", "inet 198.18.8.", "fd00:7297:8::7/64", "mtu 1400", "default via 198.18."]
    {
        assert!(logs.contains(expected), "no {expected:?} in {logs}");
    }
    let client = || bed.container().options(&["--network", &second.name]);
    assert_eq!(client().shell_output(&fetch("[fd00:7297:8::7]"))?, "page");
    assert_eq!(client().runtime("runc").shell_output(&fetch("[fd00:7297:8::7]"))?, "page");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn link_gives_name_and_environment_of_the_other_container() -> Result<()> {
    let bed = Bed::shared()?;
    let server = bed.container().options(&["--expose", "80"]).start_shell(SERVE, "ready")?;
    let link = format!("{}:pages", server.name);
    let script = format!("{}; echo $PAGES_PORT_80_TCP_PROTO", fetch("pages").replace("exit", "break"));
    assert_eq!(bed.container().options(&["--link", &link]).shell_output(&script)?, "page\ntcp");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn interface_has_the_hardware_address_that_was_asked_for() -> Result<()> {
    let bed = Bed::shared()?;
    // A docker command that knows addresses for each network does not ask an older dockerd for one.
    let version = bed.docker.output(&["version", "--format", "{{.Server.APIVersion}}"])?;
    let can_choose =
        version.split('.').nth(1).is_some_and(|minor| minor.parse().is_ok_and(|minor: u32| minor >= 44));
    let mut options = vec!["--add-host", "somewhere:192.0.2.9"];
    options.extend(can_choose.then_some("--mac-address=02:aa:bb:cc:dd:ee"));
    let script = "cat /sys/class/net/eth0/address; grep -c '^192.0.2.9.somewhere$' /etc/hosts; ip -4 route | grep -o '^default via [0-9.]*'";
    let server = bed.container().options(&options).start_shell(&format!("{script}; {SERVE}"), "ready")?;
    let address = server.inspect("{{.NetworkSettings.MacAddress}}")?;
    assert!(!can_choose || address == "02:aa:bb:cc:dd:ee", "{address}");
    let gateway = server.inspect("{{.NetworkSettings.Gateway}}")?;
    let logs = server.logs()?;
    assert!(logs.starts_with(&format!("{address}\n1\ndefault via {gateway}\n")), "{logs}");
    // The bridge finds it under that address.
    assert_eq!(bed.container().shell_output(&fetch(&server.address()?))?, "page");
    Ok(())
}
