//! The smallest ELF files that have what the tests read: one segment that maps the whole file at address 0.

use crate::recipe::{ElfData, ElfMachine};

/// A program or library. Nothing is left out: without names there is an empty dynamic section.
pub(crate) fn elf(
    (machine, order): (ElfMachine, ElfData),
    interpreter: Option<&str>,
    needed: &[&str],
    run_path: Option<&str>,
) -> Vec<u8> {
    let big = order == ElfData::Big;
    let number = |value: u64, size: usize| match big {
        true => value.to_be_bytes()[8 - size..].to_vec(),
        false => value.to_le_bytes()[..size].to_vec(),
    };
    const HEADERS: u64 = 64 + 3 * 56;

    let mut strings = vec![0];
    let mut string = |text: &str| {
        let offset = strings.len() as u64;
        strings.extend(text.bytes().chain([0]));
        offset
    };
    let interpreter = interpreter.map(|text| (string(text), text.len() as u64 + 1));
    let mut entries: Vec<(u64, u64)> = needed.iter().map(|name| (1, string(name))).collect();
    entries.extend(run_path.map(|path| (29, string(path))));
    entries.extend([(5, HEADERS), (0, 0)]);
    let dynamic = HEADERS + strings.len() as u64;
    let size = dynamic + entries.len() as u64 * 16;

    let machine = match machine {
        ElfMachine::X86_64 => 62,
        ElfMachine::S390x => 22,
    };
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, if big { 2 } else { 1 }, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (value, size) in
        [(3, 2), (machine, 2), (1, 4), (0, 8), (64, 8), (0, 8), (0, 4), (64, 2), (56, 2), (3, 2)]
    {
        file.extend(number(value, size));
    }
    file.resize(64, 0);
    let (name, name_size) = interpreter.unwrap_or((0, 0));
    let interpreter_type = if interpreter.is_some() { 3 } else { 0 };
    for (kind, offset, length) in
        [(1, 0, size), (interpreter_type, HEADERS + name, name_size), (2, dynamic, size - dynamic)]
    {
        file.extend([number(kind, 4), number(4, 4)].concat());
        for value in [offset, offset, offset, length, length, 8] {
            file.extend(number(value, 8));
        }
    }
    file.extend(strings);
    for (tag, value) in entries {
        file.extend([number(tag, 8), number(value, 8)].concat());
    }
    file
}
