//! The profile as the OCI spec writes it (`config-linux.md`, "Seccomp"), and its words as libseccomp's values. Pure.

use super::SeccompError;
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp};
use serde::{Deserialize, Deserializer};
use std::collections::HashSet;
use std::str::FromStr;

/// `EPERM`: what an error action returns unless the profile says otherwise.
const EPERM: u32 = 1;

/// Most that the kernel takes for an error number (`MAX_ERRNO`).
pub(super) const MAX_ERRNO: u32 = 4095;

/// Most that a tracer is told.
const MAX_TRACE: u32 = u16::MAX as u32;

/// Flags by name, `SECCOMP_FILTER_FLAG_…` of the kernel.
const FLAGS: [(&str, u32); 3] = [
    ("SECCOMP_FILTER_FLAG_TSYNC", 1),
    ("SECCOMP_FILTER_FLAG_LOG", 1 << 1),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", SPEC_ALLOW),
];

/// No mitigations that slow every process under a filter: what runc takes when the profile does not say.
const SPEC_ALLOW: u32 = 1 << 2;

const ACTIONS: &str = "SCMP_ACT_KILL, _KILL_THREAD, _KILL_PROCESS, _TRAP, _ERRNO, _TRACE, _ALLOW or _LOG";

/// `linux.seccomp`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Profile {
    #[serde(default)]
    pub(super) default_action: String,
    pub(super) default_errno_ret: Option<u32>,
    #[serde(default, deserialize_with = "nullable")]
    architectures: Vec<String>,
    flags: Option<Vec<String>>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) syscalls: Vec<Rule>,
}

/// `syscalls[]`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rule {
    #[serde(default, deserialize_with = "nullable")]
    pub(super) names: Vec<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default, deserialize_with = "nullable")]
    args: Vec<Condition>,
}

/// `args[]`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

impl Profile {
    /// What becomes of a call that no rule is about.
    pub(super) fn default_action(&self) -> Result<ScmpAction, SeccompError> {
        action(&self.default_action, self.default_errno_ret, "the default action")
    }

    /// Those of the guest's architectures that the profile is about, the guest's own always. A profile that Docker made
    /// for a host of another architecture is about all.
    pub(super) fn architectures(&self, guest: &[String]) -> Result<Vec<ScmpArch>, SeccompError> {
        let expected = "SCMP_ARCH_X86_64, SCMP_ARCH_S390X and the like";
        let unknown =
            |word: &str| SeccompError::Unknown { what: "architecture", word: word.to_owned(), expected };
        let parse = |word: &String| ScmpArch::from_str(word).map_err(|_unnamed| unknown(word));
        let named = self.architectures.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let guest = guest.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let own = guest.first().copied();
        let is_foreign = !named.is_empty() && own.is_some_and(|own| !named.contains(&own));
        Ok(guest
            .into_iter()
            .filter(|arch| is_foreign || Some(*arch) == own || named.contains(arch))
            .collect())
    }

    /// Flags of the kernel.
    pub(super) fn flags(&self) -> Result<u32, SeccompError> {
        let Some(words) = &self.flags else { return Ok(SPEC_ALLOW) };
        let flag = |word: &String| {
            FLAGS.iter().find(|(name, _)| name == word).map(|(_, flag)| *flag).ok_or_else(|| {
                let expected = "SECCOMP_FILTER_FLAG_TSYNC, _LOG or _SPEC_ALLOW";
                SeccompError::Unknown { what: "flag", word: word.clone(), expected }
            })
        };
        words.iter().map(flag).try_fold(0, |flags, flag| Ok(flags | flag?))
    }
}

impl Rule {
    /// What becomes of the call.
    pub(super) fn action(&self) -> Result<ScmpAction, SeccompError> {
        action(&self.action, self.errno_ret, self.names.first().map_or("no name", String::as_str))
    }

    /// Groups of conditions: the rule holds when all conditions of one group do. libseccomp takes an argument once in a
    /// group; where it comes twice, runc makes a group of each condition, and so do we.
    pub(super) fn conditions(&self) -> Result<Vec<Vec<ScmpArgCompare>>, SeccompError> {
        let all = self.args.iter().map(|condition| condition.compare(self)).collect::<Result<Vec<_>, _>>()?;
        let arguments: HashSet<u32> = self.args.iter().map(|condition| condition.index).collect();
        Ok(match all.len() {
            0 => Vec::new(),
            count if count == arguments.len() => vec![all],
            _ => all.into_iter().map(|condition| vec![condition]).collect(),
        })
    }
}

impl Condition {
    fn compare(&self, rule: &Rule) -> Result<ScmpArgCompare, SeccompError> {
        if self.index > 5 {
            let syscall = rule.names.join(", ");
            return Err(SeccompError::TooLarge { what: "argument", number: self.index, syscall, most: 5 });
        }
        let (operator, datum) = match self.op.as_str() {
            "SCMP_CMP_NE" => (ScmpCompareOp::NotEqual, self.value),
            "SCMP_CMP_LT" => (ScmpCompareOp::Less, self.value),
            "SCMP_CMP_LE" => (ScmpCompareOp::LessOrEqual, self.value),
            "SCMP_CMP_EQ" => (ScmpCompareOp::Equal, self.value),
            "SCMP_CMP_GE" => (ScmpCompareOp::GreaterEqual, self.value),
            "SCMP_CMP_GT" => (ScmpCompareOp::Greater, self.value),
            "SCMP_CMP_MASKED_EQ" => (ScmpCompareOp::MaskedEqual(self.value), self.value_two),
            unknown => {
                return Err(SeccompError::Unknown {
                    what: "operator",
                    word: unknown.to_owned(),
                    expected: "SCMP_CMP_NE, _LT, _LE, _EQ, _GE, _GT or _MASKED_EQ",
                });
            }
        };
        Ok(ScmpArgCompare::new(self.index, operator, datum))
    }
}

fn action(word: &str, errno: Option<u32>, syscall: &str) -> Result<ScmpAction, SeccompError> {
    let number = errno.unwrap_or(EPERM);
    let bounded = |most| {
        let too_large =
            || SeccompError::TooLarge { what: "error number", number, syscall: syscall.to_owned(), most };
        u16::try_from(number).ok().filter(|number| u32::from(*number) <= most).ok_or_else(too_large)
    };
    Ok(match word {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => ScmpAction::KillThread,
        "SCMP_ACT_KILL_PROCESS" => ScmpAction::KillProcess,
        "SCMP_ACT_TRAP" => ScmpAction::Trap,
        "SCMP_ACT_ERRNO" => ScmpAction::Errno(bounded(MAX_ERRNO)?.into()),
        "SCMP_ACT_TRACE" => ScmpAction::Trace(bounded(MAX_TRACE)?),
        "SCMP_ACT_ALLOW" => ScmpAction::Allow,
        "SCMP_ACT_LOG" => ScmpAction::Log,
        "SCMP_ACT_NOTIFY" => return Err(SeccompError::Notify),
        unknown => {
            return Err(SeccompError::Unknown {
                what: "action",
                word: unknown.to_owned(),
                expected: ACTIONS,
            });
        }
    })
}

/// Go writes an empty slice as null.
fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
