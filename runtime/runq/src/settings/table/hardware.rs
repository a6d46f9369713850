//! Settings of the virtual hardware. Pure.

use super::{MAX_VCPUS, MEMORY_MIB, Row, SWITCH, Who, switch, whole, words};
use runq_contract::guest::{NinePCache, Share, VirtiofsCache};
use runq_contract::vm_config::Accel;

pub(super) const ROWS: &[Row] = &[
    Row {
        flag: "cpu",
        value: "N",
        repeats: false,
        variables: &["RUNQ_CPU"],
        who: Who::Container,
        help: "vCPUs, 1 to 64 (default: docker's --cpus, else 1)",
        expected: "a whole number of vCPUs from 1 to 64",
        apply: |settings, value| {
            settings.hardware.vcpus = whole(value, 1, MAX_VCPUS)?;
            Some(())
        },
    },
    Row {
        flag: "mem",
        value: "MIB",
        repeats: false,
        variables: &["RUNQ_MEM"],
        who: Who::Container,
        help: "memory in MiB, 96 to 1048576 (default: docker's -m, else 256)",
        expected: "MiB, a whole number from 96 to 1048576",
        apply: |settings, value| {
            settings.hardware.memory_mib = whole(value, MEMORY_MIB.0, MEMORY_MIB.1)?;
            Some(())
        },
    },
    Row {
        flag: "max-cpu",
        value: "N",
        repeats: false,
        variables: &[],
        who: Who::Admin,
        help: "most vCPUs that a container may ask for (64)",
        expected: "a whole number of vCPUs from 1 to 64",
        apply: |settings, value| {
            settings.max_vcpus = whole(value, 1, MAX_VCPUS)?;
            Some(())
        },
    },
    Row {
        flag: "max-mem",
        value: "MIB",
        repeats: false,
        variables: &[],
        who: Who::Admin,
        help: "most MiB that a container may ask for (1048576)",
        expected: "MiB, a whole number from 96 to 1048576",
        apply: |settings, value| {
            settings.max_memory_mib = whole(value, MEMORY_MIB.0, MEMORY_MIB.1)?;
            Some(())
        },
    },
    Row {
        flag: "accel",
        value: "kvm|tcg",
        repeats: false,
        variables: &["RUNQ_ACCEL"],
        who: Who::WhenAllowed,
        help: "hardware virtualisation or emulation (kvm)",
        expected: "kvm or tcg",
        apply: |settings, value| {
            settings.hardware.accel = match value {
                "kvm" => Accel::Kvm,
                "tcg" => Accel::Tcg,
                _ => return None,
            };
            Some(())
        },
    },
    Row {
        flag: "boot-timeout",
        value: "SECONDS",
        repeats: false,
        variables: &[],
        who: Who::Admin,
        help: "how long a VM may take until its entrypoint starts (240)",
        expected: "seconds, a whole number from 1 to 86400",
        apply: |settings, value| {
            settings.boot_timeout_seconds = whole(value, 1, 86400)?;
            Some(())
        },
    },
    Row {
        flag: "share",
        value: "virtiofs|9p",
        repeats: false,
        variables: &["RUNQ_SHARE"],
        who: Who::WhenAllowed,
        help: "how files get into the guest; with 9p QEMU itself serves them (virtiofs)",
        expected: "virtiofs or 9p",
        apply: |settings, value| {
            settings.share =
                Some([Share::Virtiofs, Share::NineP].into_iter().find(|share| share.name() == value)?);
            Some(())
        },
    },
    Row {
        flag: "virtiofs-cache",
        value: "auto|always",
        repeats: false,
        variables: &["RUNQ_VIRTIOFS_CACHE"],
        who: Who::Container,
        help: "what the guest keeps of files that virtiofs brings (auto)",
        expected: "auto or always",
        apply: |settings, value| {
            settings.virtiofs_cache = VirtiofsCache::ALL.into_iter().find(|mode| mode.name() == value)?;
            Some(())
        },
    },
    Row {
        flag: "9pcache",
        value: "MODE",
        repeats: false,
        variables: &["RUNQ_9PCACHE"],
        who: Who::Container,
        help: "what the guest keeps of files that 9p brings (mmap)",
        expected: "none, readahead, mmap, loose or fscache",
        apply: |settings, value| {
            settings.nine_p_cache = NinePCache::ALL.into_iter().find(|mode| mode.name() == value)?;
            Some(())
        },
    },
    Row {
        flag: "cpuargs",
        value: "FEATURE,…",
        repeats: false,
        variables: &["RUNQ_CPUARGS"],
        who: Who::WhenAllowed,
        help: "further features of QEMU's -cpu, such as ap=on",
        expected: "features as in QEMU's -cpu: words of letters, digits, '.', '_', '+', '-' and '=', separated by commas",
        apply: |settings, value| {
            let is_feature = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-=".contains(&byte);
            let features = words(value);
            let valid =
                features.iter().all(|feature| feature.bytes().all(is_feature) && !feature.starts_with('='));
            settings.hardware.cpu_features = features;
            valid.then_some(())
        },
    },
    Row {
        flag: "nestedvm",
        value: "",
        repeats: false,
        variables: &[],
        who: Who::Admin,
        help: "let the guest run virtual machines of its own",
        expected: SWITCH,
        apply: |settings, value| {
            settings.hardware.nested = switch(value)?;
            Some(())
        },
    },
    Row {
        flag: "apuuid",
        value: "UUID",
        repeats: false,
        variables: &["RUNQ_APUUID"],
        who: Who::WhenAllowed,
        help: "mediated device with AP adapters (s390x)",
        expected: "the UUID of a mediated device of vfio-ap, like 4b0518fd-9237-493f-93c8-c5597f8006a3",
        apply: |settings, value| {
            let groups: Vec<&str> = value.split('-').collect();
            let valid = groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
                && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()));
            settings.hardware.ap_uuid = Some(value.to_ascii_lowercase());
            valid.then_some(())
        },
    },
];
