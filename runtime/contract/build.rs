//! Derives the build id from the contract's own sources, so that two programs agree on it exactly when
//! they agree on the contract. It depends on nothing else: not on time, host, target or compiler.

use std::fs;
use std::path::PathBuf;

/// FNV-1a, 64 bit. Not a defence: it tells builds apart, it does not authenticate them.
fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=src");
    let mut sources: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir("src")? {
        sources.push(entry?.path());
    }
    sources.sort();
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for source in sources {
        hash = fnv1a(hash, &fs::read(source)?);
    }
    println!("cargo::rustc-env=RUNQ_BUILD_ID={}-{hash:016x}", env!("CARGO_PKG_VERSION"));
    Ok(())
}
