//! Compiles the spec's seccomp profile for the guest's kernel, as runc does for the host's: libseccomp makes the program, on
//! any host for any guest. Runs on the host; the profile is the user's or Docker's, the image has no part in it.

mod newer;
mod profile;

use libseccomp::error::SeccompError as LibraryError;
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpFilterContext, ScmpSyscall};
use profile::{Profile, Rule};
use runq_contract::seccomp::{Instruction, Seccomp};
use serde_json::Value;
use std::io::{Read, Seek};

/// A profile that cannot be had in the guest.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SeccompError {
    /// Not of the OCI spec's form.
    #[error("seccomp profile: not as the OCI spec has it")]
    Malformed(#[source] serde_json::Error),
    /// A word that nobody knows.
    #[error("seccomp profile: {what} {word:?} is unknown: expected {expected}")]
    Unknown {
        /// Action, operator, architecture, flag.
        what: &'static str,
        /// As it stands in the profile.
        word: String,
        /// All that are known.
        expected: &'static str,
    },
    /// An action whose other half would be on the host.
    #[error("seccomp profile: SCMP_ACT_NOTIFY is not supported: an agent on the host cannot look into a VM")]
    Notify,
    /// A number out of bounds.
    #[error("seccomp profile: {what} {number} of {syscall}: expected at most {most}")]
    TooLarge {
        /// Error number or index.
        what: &'static str,
        /// As it stands in the profile.
        number: u32,
        /// Where; empty for the default action.
        syscall: String,
        /// The bound.
        most: u32,
    },
    /// The library refuses.
    #[error("seccomp profile: cannot {action}")]
    Library {
        /// What was attempted.
        action: String,
        /// Why not.
        #[source]
        source: LibraryError,
    },
    /// The program cannot be got out of the library.
    #[error("cannot read the compiled seccomp filter")]
    Export(#[source] std::io::Error),
}

/// The level of libseccomp's interface that knows all actions and flags. Without it the library would ask the host's kernel,
/// which will not run the filter.
const API_LEVEL: u32 = 6;

/// Let libseccomp sort the system calls into a binary tree: a linear program costs each call time.
const BINARY_TREE: u32 = 2;

/// The instruction that ends a program (`linux/bpf_common.h`).
const RETURN: u16 = 0x06;

/// The profile in `linux.seccomp` as a program for a guest that knows `archs`, its own first. `None` without a profile.
pub(crate) fn compile(spec: &Value, archs: &[String]) -> Result<Option<Seccomp>, SeccompError> {
    let Some(json) = spec.pointer("/linux/seccomp").filter(|json| !json.is_null()) else { return Ok(None) };
    let profile: Profile = serde_json::from_value(json.clone()).map_err(SeccompError::Malformed)?;
    // As in runc, this is how a caller switches seccomp off.
    if profile.default_action.is_empty() && profile.syscalls.is_empty() {
        return Ok(None);
    }
    let archs = profile.architectures(archs)?;
    let default = profile.default_action()?;
    let mut filter = empty_filter(default, &archs)?;
    for rule in &profile.syscalls {
        add(&mut filter, rule, default)?;
    }
    let mut instructions = newer::prelude(&profile, default, &archs)?;
    instructions.extend(export(&filter, &archs)?);
    Ok(Some(Seccomp { instructions, flags: profile.flags()? }))
}

fn library<T>(result: Result<T, LibraryError>, action: impl FnOnce() -> String) -> Result<T, SeccompError> {
    result.map_err(|source| SeccompError::Library { action: action(), source })
}

/// A filter for these architectures. The host's own has to leave first: byte orders do not mix.
fn empty_filter(default: ScmpAction, archs: &[ScmpArch]) -> Result<ScmpFilterContext, SeccompError> {
    library(libseccomp::set_api(API_LEVEL), || "use libseccomp 2.5 or later".to_owned())?;
    let mut filter = library(ScmpFilterContext::new(default), || "start a filter".to_owned())?;
    library(filter.remove_arch(ScmpArch::Native), || "leave the host's architecture".to_owned())?;
    for arch in archs {
        library(filter.add_arch(*arch), || format!("add architecture {arch:?}"))?;
    }
    library(filter.set_ctl_optimize(BINARY_TREE), || "sort the filter".to_owned())?;
    Ok(filter)
}

/// Adds a rule for each of its names. Names that the library does not know are of other kernels: skipped, as in runc.
fn add(filter: &mut ScmpFilterContext, rule: &Rule, default: ScmpAction) -> Result<(), SeccompError> {
    let action = rule.action()?;
    let conditions = rule.conditions()?;
    // What happens anyway; the library would refuse it.
    if action == default {
        return Ok(());
    }
    for name in &rule.names {
        let Ok(syscall) = ScmpSyscall::from_name(name) else { continue };
        let refused = || format!("add a rule for {name}");
        if conditions.is_empty() {
            library(filter.add_rule(action, syscall), refused)?;
        }
        for group in &conditions {
            let group: &[ScmpArgCompare] = group;
            library(filter.add_rule_conditional(action, syscall, group), refused)?;
        }
    }
    Ok(())
}

/// The program. The library writes it in the byte order of the architectures, which are of one kind.
fn export(filter: &ScmpFilterContext, archs: &[ScmpArch]) -> Result<Vec<Instruction>, SeccompError> {
    let memory = rustix::fs::memfd_create("runq-seccomp", rustix::fs::MemfdFlags::CLOEXEC)
        .map_err(|error| SeccompError::Export(error.into()))?;
    library(filter.export_bpf(&memory), || "compile the filter".to_owned())?;
    let mut file = std::fs::File::from(memory);
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).map_err(SeccompError::Export)?;
    let is_big_endian = archs.iter().any(|arch| matches!(arch, ScmpArch::S390X | ScmpArch::S390));
    Ok(bytes.as_chunks().0.iter().map(|bytes| instruction(*bytes, is_big_endian)).collect())
}

/// `struct sock_filter`.
fn instruction(bytes: [u8; 8], is_big_endian: bool) -> Instruction {
    let [c0, c1, jump_true, jump_false, k0, k1, k2, k3] = bytes;
    let (code, operand) = if is_big_endian {
        (u16::from_be_bytes([c0, c1]), u32::from_be_bytes([k0, k1, k2, k3]))
    } else {
        (u16::from_le_bytes([c0, c1]), u32::from_le_bytes([k0, k1, k2, k3]))
    };
    let operand = if code == RETURN { return_value(operand) } else { operand };
    Instruction { code, jump_true, jump_false, operand }
}

/// libseccomp 2.5 leaves some return values in the host's byte order when the guest's is another: those of programs so long
/// that jumps do not reach the end. A value means something in one order only, or the same in both.
fn return_value(operand: u32) -> u32 {
    let has_meaning = |value: u32| match value & 0xffff_0000 {
        0x0005_0000 => value & 0xffff <= profile::MAX_ERRNO,
        0x7ff0_0000 => true,
        plain => value == plain && [0, 0x8000_0000, 0x0003_0000, 0x7ffc_0000, 0x7fff_0000].contains(&plain),
    };
    if has_meaning(operand) { operand } else { operand.swap_bytes() }
}

#[cfg(test)]
mod tests;
