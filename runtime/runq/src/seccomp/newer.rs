//! System calls that are newer than a profile: they must look as on a kernel that lacks them, because a C library falls back
//! on `ENOSYS` and fails on any other error. As in runc, a call with a number beyond every one that the profile names gets it.
//! Pure.

use super::profile::Profile;
use super::{RETURN, SeccompError};
use libseccomp::{ScmpAction, ScmpArch, ScmpSyscall};
use runq_contract::seccomp::Instruction;

/// `ENOSYS` on every architecture of ours.
const ENOSYS: u32 = 38;

/// Instructions of classic BPF (`linux/bpf_common.h`).
const LOAD_WORD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_GREATER: u16 = 0x25;
const JUMP_IF_AT_LEAST: u16 = 0x35;

/// `SECCOMP_RET_ERRNO`.
const RETURN_ERRNO: u32 = 0x0005_0000;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

/// Set in the numbers of x32, which is x86_64 to the audit system.
const X32_BIT: u32 = 0x4000_0000;

/// How the kernel names an architecture to a filter (`linux/audit.h`).
fn audit_arch(arch: ScmpArch) -> Option<u32> {
    Some(match arch {
        ScmpArch::X86 => 0x4000_0003,
        ScmpArch::X8664 | ScmpArch::X32 => 0xc000_003e,
        ScmpArch::S390 => 0x16,
        ScmpArch::S390X => 0x8000_0016,
        _ => return None,
    })
}

/// What goes before the program of libseccomp. Empty where the profile lets unknown calls pass: allowed, logged, or left to
/// a tracer who emulates them.
pub(super) fn prelude(
    profile: &Profile,
    default: ScmpAction,
    archs: &[ScmpArch],
) -> Result<Vec<Instruction>, SeccompError> {
    let passes = matches!(default, ScmpAction::Allow | ScmpAction::Log | ScmpAction::Trace(_));
    if passes || profile.default_errno_ret == Some(ENOSYS) {
        return Ok(Vec::new());
    }
    let last = |arch: ScmpArch| archs.contains(&arch).then(|| last_number(profile, arch)).flatten();
    let mut groups = Vec::new();
    for arch in archs.iter().filter(|arch| **arch != ScmpArch::X32) {
        let (Some(audit), Some(most)) = (audit_arch(*arch), last(*arch)) else { continue };
        let tests = if *arch == ScmpArch::X8664 {
            vec![Test::IsX32, Test::Beyond(most), last(ScmpArch::X32).map_or(Test::Pass, Test::Beyond)]
        } else {
            vec![Test::Beyond(most)]
        };
        groups.push((audit, tests));
    }
    Ok(assemble(&groups))
}

/// A step of the decision about a number.
enum Test {
    /// An x32 number skips the next test.
    IsX32,
    /// Decides: beyond this it is unknown.
    Beyond(u32),
    /// Decides: it is for libseccomp's program to judge.
    Pass,
}

/// The largest number that a profile names on an architecture.
fn last_number(profile: &Profile, arch: ScmpArch) -> Option<u32> {
    let names = profile.syscalls.iter().flat_map(|rule| &rule.names);
    let numbers = names.filter_map(|name| ScmpSyscall::from_name_by_arch(name, arch).ok());
    // Negative numbers are libseccomp's own, for calls of other architectures.
    numbers.filter_map(|syscall| u32::try_from(syscall.as_raw_syscall()).ok()).max()
}

/// Load the architecture; for each one: load the number and decide. Ends with the return that the decisions jump to; what
/// follows it is libseccomp's program.
fn assemble(groups: &[(u32, Vec<Test>)]) -> Vec<Instruction> {
    if groups.is_empty() {
        return Vec::new();
    }
    let length = |tests: &Vec<Test>| tests.len() + 2;
    let end = 2 + groups.iter().map(|(_, tests)| length(tests)).sum::<usize>();
    let mut program = vec![plain(LOAD_WORD, ARCH)];
    for (audit, tests) in groups {
        program.push(Instruction::from((JUMP_IF_EQUAL, 0, short(tests.len() + 1), *audit)));
        program.push(plain(LOAD_WORD, NUMBER));
        for test in tests {
            let to_return = end - program.len() - 1;
            program.push(match test {
                Test::IsX32 => Instruction::from((JUMP_IF_AT_LEAST, 1, 0, X32_BIT)),
                Test::Beyond(most) => {
                    Instruction::from((JUMP_IF_GREATER, short(to_return), short(to_return + 1), *most))
                }
                Test::Pass => plain(JUMP, u32::from(short(to_return + 1))),
            });
        }
    }
    program.push(plain(JUMP, 1));
    program.push(plain(RETURN, RETURN_ERRNO | ENOSYS));
    program
}

fn plain(code: u16, operand: u32) -> Instruction {
    Instruction { code, jump_true: 0, jump_false: 0, operand }
}

/// The prelude has at most a dozen and a half instructions.
fn short(distance: usize) -> u8 {
    u8::try_from(distance).unwrap_or(u8::MAX)
}
