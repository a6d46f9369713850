//! A compiled seccomp filter. `runq` compiles the OCI profile for the guest's architecture, `init` loads it. Numbers, not
//! bytes, travel: each instruction is put into the kernel's layout and byte order where it is used.

use serde::{Deserialize, Serialize};

/// What `seccomp(SECCOMP_SET_MODE_FILTER)` takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seccomp {
    /// The program, at most 65535 instructions.
    pub instructions: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_…`.
    pub flags: u32,
}

/// One instruction of classic BPF (Linux `Documentation/networking/filter.rst`); in JSON the array of its four fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u16, u8, u8, u32)", into = "(u16, u8, u8, u32)")]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when a comparison holds.
    pub jump_true: u8,
    /// Instructions to skip when it does not.
    pub jump_false: u8,
    /// Operand.
    pub operand: u32,
}

impl From<(u16, u8, u8, u32)> for Instruction {
    fn from((code, jump_true, jump_false, operand): (u16, u8, u8, u32)) -> Self {
        Self { code, jump_true, jump_false, operand }
    }
}

impl From<Instruction> for (u16, u8, u8, u32) {
    fn from(instruction: Instruction) -> Self {
        let Instruction { code, jump_true, jump_false, operand } = instruction;
        (code, jump_true, jump_false, operand)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn travels_as_numbers() {
        let instructions =
            vec![Instruction { code: 0x15, jump_true: 1, jump_false: 0, operand: 0xc000_003e }];
        let filter = Seccomp { instructions, flags: 4 };
        let json = serde_json::to_string(&filter).unwrap();
        assert_eq!(json, "{\"instructions\":[[21,1,0,3221225534]],\"flags\":4}");
        assert_eq!(serde_json::from_str::<Seccomp>(&json).unwrap(), filter);
    }
}
