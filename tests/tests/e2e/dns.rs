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

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn the_admins_flags_hold_unless_a_container_says_otherwise() -> Result<()> {
    let bed = Bed::alone()?;
    let flags = ["--dns", "192.0.2.7,2001:db8::7", "--dns-opts", "ndots:5", "--dns-search", "admin.example"];
    let runtime = runq_tests::sandbox_runtime::Runtime::with(&bed.sandbox, &flags)?;
    let conf = |options: &[&str]| {
        let options = [&["--dns", "192.0.2.53"], options].concat();
        bed.container().runtime(&runtime.name).options(&options).shell_output("cat /etc/resolv.conf")
    };
    let admins = "nameserver 192.0.2.7\nnameserver 2001:db8::7\nsearch admin.example\noptions ndots:5";
    assert_eq!(conf(&[])?, admins);
    let changed = conf(&["-e", "RUNQ_DNS_OPTS=rotate", "-e", "RUNQ_DNS_SEARCH=own.example"])?;
    assert_eq!(changed, admins.replace("ndots:5", "rotate").replace("admin.", "own."));
    let preserved = conf(&["-e", "RUNQ_DNS_PRESERVE=true"])?;
    assert!(preserved.contains("nameserver 192.0.2.53") && !preserved.contains("192.0.2.7"), "{preserved}");
    drop(runtime);
    let preserving = [&flags[..], &["--dns-preserve"]].concat();
    let runtime = runq_tests::sandbox_runtime::Runtime::with(&bed.sandbox, &preserving)?;
    let container = bed.container().runtime(&runtime.name).options(&["--dns", "192.0.2.53"]);
    let preserved = container.shell_output("cat /etc/resolv.conf")?;
    assert!(preserved.contains("nameserver 192.0.2.53") && !preserved.contains("192.0.2.7"), "{preserved}");
    Ok(())
}
