//! The resolver configuration of a container.

use anyhow::Result;
use runq_tests::bed::Bed;

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn dockers_dns_option_is_kept() -> Result<()> {
    let bed = Bed::shared()?;
    let options = ["--dns", "192.0.2.53", "--dns-search", "example.org", "--hostname", "named"];
    let read = "cat /etc/resolv.conf; hostname; grep named /etc/hosts";
    let runq = bed.container().options(&options).shell_output(read)?;
    for expected in ["nameserver 192.0.2.53", "search example.org", "\tnamed"] {
        assert!(runq.contains(expected), "no {expected:?} in {runq}");
    }
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn runq_dns_replaces_dockers_configuration() -> Result<()> {
    let bed = Bed::shared()?;
    let conf = bed
        .container()
        .options(&["-e", "RUNQ_DNS=192.0.2.1,192.0.2.2"])
        .shell_output("cat /etc/resolv.conf")?;
    let servers: Vec<&str> = conf.lines().filter(|line| line.starts_with("nameserver")).collect();
    assert_eq!(servers, ["nameserver 192.0.2.1", "nameserver 192.0.2.2"]);
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn options_search_domains_and_preservation_are_as_the_variables_say() -> Result<()> {
    let bed = Bed::shared()?;
    let servers = [
        "-e",
        "RUNQ_DNS=192.0.2.1",
        "-e",
        "RUNQ_DNS_OPT=ndots:3,rotate",
        "-e",
        "RUNQ_DNS_SEARCH=a.example,b.example",
    ];
    let conf = bed.container().options(&servers).shell_output("cat /etc/resolv.conf")?;
    assert_eq!(conf, "nameserver 192.0.2.1\nsearch a.example b.example\noptions ndots:3 rotate");
    let preserve = ["--dns", "192.0.2.53", "-e", "RUNQ_DNS_PRESERVE=1"];
    let conf = bed.container().options(&servers).options(&preserve).shell_output("cat /etc/resolv.conf")?;
    assert!(conf.contains("nameserver 192.0.2.53") && !conf.contains("192.0.2.1\n"), "{conf}");
    Ok(())
}
