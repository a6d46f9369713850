//! Gives our AppArmor profile to the kernel, as dockerd does with its own: a tree that was copied to a host needs no installer
//! for it. Runs on the host as root, where the engine asked for a profile, which it does only where AppArmor is in use.

use crate::spec::APPARMOR_PROFILE;
use anyhow::{Context, bail, ensure};
use std::io::Write;
use std::process::{Command, Stdio};

const PROFILE: &str = include_str!("../../apparmor.profile");

/// The profiles that the kernel has: `NAME (MODE)`, one a line.
const LOADED: &str = "/sys/kernel/security/apparmor/profiles";

/// In dockerd's `PATH`.
const PARSER: &str = "apparmor_parser";

/// Loads the profile unless the kernel has it.
pub(crate) fn load() -> anyhow::Result<()> {
    // Where securityfs is not mounted, the parser has the last word.
    if std::fs::read_to_string(LOADED).is_ok_and(|loaded| is_loaded(&loaded)) {
        return Ok(());
    }
    let parser = Command::new(PARSER).arg("-Kr").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let advice = "install apparmor_parser, or run the container with --security-opt apparmor=unconfined";
    let mut parser = parser.with_context(|| {
        format!("cannot load the AppArmor profile {APPARMOR_PROFILE} with {PARSER}: {advice}")
    })?;
    let Some(mut input) = parser.stdin.take() else { bail!("{PARSER} has no standard input") };
    input.write_all(PROFILE.as_bytes()).with_context(|| format!("cannot give {PARSER} the profile"))?;
    drop(input);
    let output = parser.wait_with_output().with_context(|| format!("cannot wait for {PARSER}"))?;
    ensure!(
        output.status.success(),
        "{PARSER} does not load the AppArmor profile {APPARMOR_PROFILE}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

fn is_loaded(profiles: &str) -> bool {
    profiles.lines().any(|line| line.split(' ').next() == Some(APPARMOR_PROFILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_has_the_name_that_containers_get_and_is_found_by_it() {
        assert!(PROFILE.contains(&format!("profile {APPARMOR_PROFILE} ")));
        assert!(PROFILE.contains(&format!("signal (send, receive) peer={APPARMOR_PROFILE},")));
        assert!(is_loaded(&format!("docker-default (enforce)\n{APPARMOR_PROFILE} (enforce)\n")));
        assert!(!is_loaded(&format!("{APPARMOR_PROFILE}0 (enforce)\n")));
    }
}
