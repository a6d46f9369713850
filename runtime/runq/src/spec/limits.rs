//! Docker's limits of the container, `-m`, `--cpus` and `--pids-limit`: the VM is sized by them, and the host's control
//! group gets room for the programs around the guest, so that a guest within its limit is never killed from outside.

use runq_contract::vm_config::{Accel, Hardware};
use serde_json::{Map, Value, json};

/// As the spec has them; absent is unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Whole MiB of memory.
    pub(crate) memory_mib: Option<u64>,
    /// Processors, rounded up: the quota of the host's control group has the fraction.
    pub(crate) vcpus: Option<u32>,
    /// Processes and threads.
    pub(crate) pids: Option<u32>,
}

/// The CFS period that the kernel takes when none is given, in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;

/// The limits in `linux.resources`. Docker and the kernel say with 0 and -1 that there is none.
pub(crate) fn limits(spec: &Value) -> Limits {
    let number = |pointer: &str| {
        let value = spec.pointer(pointer).and_then(Value::as_i64)?;
        u64::try_from(value).ok().filter(|value| *value > 0)
    };
    let memory = number("/linux/resources/memory/limit");
    let period = number("/linux/resources/cpu/period").unwrap_or(DEFAULT_PERIOD);
    let quota = number("/linux/resources/cpu/quota");
    Limits {
        memory_mib: memory.map(|bytes| bytes >> 20),
        vcpus: quota.map(|quota| saturate(quota.div_ceil(period))),
        pids: number("/linux/resources/pids/limit").map(saturate),
    }
}

fn saturate(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Memory that proxy, virtiofsd and QEMU need beside the guest's, in MiB. Measured, after a guest of 256 MiB had read 8,000 files
/// and made 2,000: 122 under emulation, of which up to 128 may be translated code. The rest is for the host's caches of
/// files, which a container with more files uses.
fn overhead_mib(hardware: &Hardware) -> i64 {
    match hardware.accel {
        Accel::Kvm => 128,
        Accel::Tcg => 320,
    }
}

/// Threads of proxy, virtiofsd and QEMU beside one for each vCPU: QEMU's pools for files and disks have 64.
const OVERHEAD_PIDS: i64 = 100;

/// Adds what the programs around the guest need to the limits in an OCI `resources` object. Where there is no limit, none
/// is made.
pub(crate) fn make_room(resources: &mut Map<String, Value>, hardware: &Hardware) {
    let memory = overhead_mib(hardware) << 20;
    let pids = OVERHEAD_PIDS + i64::from(hardware.vcpus);
    for (group, name, room) in
        [("memory", "limit", memory), ("memory", "swap", memory), ("pids", "limit", pids)]
    {
        let limit = resources.get_mut(group).and_then(|group| group.get_mut(name));
        if let Some(limit) = limit
            && let Some(number) = limit.as_i64().filter(|number| *number > 0)
        {
            *limit = json!(number.saturating_add(room));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn takes_what_docker_writes() {
        let spec = |memory: i64, quota: i64| {
            json!({"linux": {"resources": {"memory": {"limit": memory, "swap": 2 * memory}, "pids": {"limit": memory >> 26},
                                           "cpu": {"quota": quota, "period": 100_000}}}})
        };
        let fit = |memory_mib, vcpus, pids| Limits { memory_mib, vcpus, pids };
        assert_eq!(limits(&spec(512 << 20, 150_000)), fit(Some(512), Some(2), Some(8)));
        assert_eq!(limits(&spec(0, -1)), fit(None, None, None));
        assert_eq!(limits(&json!({"linux": {"resources": {"memory": null}}})), Limits::default());
        assert_eq!(
            limits(&json!({"linux": {"resources": {"cpu": {"quota": 300_001}}}})),
            fit(None, Some(4), None)
        );
    }

    #[test]
    fn makes_room_where_there_is_a_limit() {
        let hardware = Hardware { vcpus: 2, memory_mib: 64, accel: Accel::Kvm, ..Hardware::default() };
        let room = |resources: Value| {
            let Value::Object(mut resources) = resources else { unreachable!("an object below") };
            make_room(&mut resources, &hardware);
            Value::Object(resources)
        };
        let mib = |mib: i64| mib << 20;
        assert_eq!(
            room(
                json!({"memory": {"limit": mib(64), "swap": mib(128), "reservation": 7}, "pids": {"limit": 8}})
            ),
            json!({"memory": {"limit": mib(192), "swap": mib(256), "reservation": 7}, "pids": {"limit": 110}})
        );
        let unlimited = json!({"memory": {"limit": 0, "swap": -1}, "pids": {"limit": -1}, "cpu": null});
        assert_eq!(room(unlimited.clone()), unlimited);
    }
}
