//! What the host's kernel and processor offer. Runs on the host; reads /proc and /sys.

use super::Check;
use std::fs;
use std::path::Path;

/// Controllers by which Docker limits a container, the virtual machine included.
const CONTROLLERS: [&str; 4] = ["cpu", "memory", "pids", "devices"];

pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![cgroups(), seccomp()];
    if std::env::consts::ARCH == "s390x" {
        checks.push(s390x_machine(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()));
    }
    checks
}

fn cgroups() -> Check {
    let unified = Path::new("/sys/fs/cgroup/cgroup.controllers");
    let (version, text) = if unified.exists() {
        // Devices are a matter of BPF there.
        ("v2", fs::read_to_string(unified).map(|text| format!("{text} devices")))
    } else {
        ("v1", fs::read_to_string("/proc/cgroups"))
    };
    let missing = missing_controllers(&text.unwrap_or_default(), version == "v1");
    if missing.is_empty() {
        return Check::ok("cgroups", format!("{version}, {}", CONTROLLERS.join(", ")));
    }
    let means = "limits of that kind are not kept by the host";
    Check::warning("cgroups", format!("{version} without {}", missing.join(", ")), means)
        .mended_by("boot with cgroup_enable=memory, or what the distribution says about control groups")
}

/// `text`: `/proc/cgroups`, whose fourth column is 0 for what is switched off, or a list of words.
fn missing_controllers(text: &str, is_table: bool) -> Vec<&'static str> {
    let enabled = |controller: &str| {
        if !is_table {
            return text.split_whitespace().any(|word| word == controller);
        }
        let mut rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.any(|row| row.first() == Some(&controller) && row.get(3) == Some(&"1"))
    };
    CONTROLLERS.into_iter().filter(|controller| !enabled(controller)).collect()
}

fn seccomp() -> Check {
    match fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail") {
        Ok(actions) => Check::ok("seccomp", format!("filters: {}", actions.trim())),
        Err(error) => Check::warning(
            "seccomp",
            format!("the kernel has no filters: {error}"),
            "Docker's profile does not hold on the host side; it does in the guest",
        )
        .mended_by("use a kernel with CONFIG_SECCOMP_FILTER"),
    }
}

/// Distributions' kernels and QEMU's `host` model want a z13 at least, and KVM the facility SIE.
fn s390x_machine(cpuinfo: &str) -> Check {
    let name = "s390x-machine";
    let code = cpuinfo.split("machine = ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let Some(code) = code else {
        return Check::warning(name, "/proc/cpuinfo names no machine", "whether KVM works is not known")
            .mended_by("tell us what /proc/cpuinfo says there");
    };
    let known = match code {
        "2964" | "2965" => Some("z13"),
        "3906" | "3907" => Some("z14"),
        "8561" | "8562" => Some("z15"),
        "3931" | "3932" => Some("z16"),
        "9175" | "9176" => Some("z17"),
        "2064" | "2066" | "2084" | "2086" | "2094" | "2096" | "2097" | "2098" | "2817" | "2818" | "2827"
        | "2828" => {
            return Check::failure(
                name,
                format!("machine {code}"),
                "kernels of today's distributions want a z13 at least",
            )
            .mended_by("use a newer machine");
        }
        _ => None,
    };
    let label = known.map_or_else(|| format!("machine {code}"), |model| format!("{model} ({code})"));
    let features = cpuinfo.lines().find(|line| line.starts_with("features")).unwrap_or_default();
    if features.split_whitespace().any(|word| word == "sie") {
        return Check::ok(name, format!("{label}, with SIE"));
    }
    Check::failure(name, format!("{label}, without SIE"), "KVM cannot run a guest here")
        .mended_by("have the hypervisor of this system allow nesting, or use a partition")
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn knows_controllers_of_both_kinds() {
        let table = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t1\t1\nmemory\t0\t1\t0\npids\t3\t1\t1\ndevices\t4\t1\t1\n";
        assert_eq!(missing_controllers(table, true), ["memory"]);
        assert_eq!(missing_controllers("cpuset cpu io memory pids devices", false), [""; 0]);
        assert_eq!(missing_controllers("cpuset io devices", false), ["cpu", "memory", "pids"]);
    }

    #[test]
    fn knows_the_machines_of_ibm_z() {
        let cpuinfo = |code: &str, features: &str| {
            format!(
                "vendor_id       : IBM/S390\nfeatures\t: esan3 zarch {features} te vx\nprocessor 0: version = FF,  identification = 1,  machine = {code}\n"
            )
        };
        let z15 = s390x_machine(&cpuinfo("8561", "sie"));
        assert_eq!((z15.verdict, z15.found.as_str()), (Verdict::Ok, "z15 (8561), with SIE"));
        assert_eq!(s390x_machine(&cpuinfo("8561", "")).verdict, Verdict::Failure);
        assert_eq!(s390x_machine(&cpuinfo("2827", "sie")).verdict, Verdict::Failure);
        assert_eq!(s390x_machine(&cpuinfo("9999", "sie")).verdict, Verdict::Ok);
        assert_eq!(s390x_machine("").verdict, Verdict::Warning);
    }
}
