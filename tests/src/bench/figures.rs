//! What is measured, and how. Times inside a container are those of its own clock, so that its start does not count.

use super::{LIMIT, RUNS};
use crate::bed::unique_name;
use crate::command;
use crate::docker::Docker;
use crate::host;
use anyhow::{Context, Result, ensure};
use std::io::Read;
use std::net::TcpListener;
use std::time::Instant;

/// One line of the table.
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) runs: usize,
    pub(super) measure: fn(&Docker, &str) -> Result<f64>,
}

pub(super) const FIGURES: [Figure; 12] = [
    Figure { name: "docker run --rm busybox true", unit: "s", runs: RUNS, measure: start },
    Figure { name: "10 of them at once", unit: "s", runs: 1, measure: ten_at_once },
    Figure { name: "standard output", unit: "MiB/s", runs: RUNS, measure: stdout },
    Figure {
        name: "find over 5,000 files",
        unit: "s",
        runs: RUNS,
        measure: |docker, runtime| find(docker, runtime, ""),
    },
    Figure {
        name: "the second pass",
        unit: "s",
        runs: RUNS,
        measure: |docker, runtime| find(docker, runtime, "find /many | wc -l;"),
    },
    Figure { name: "64 MiB write + fsync", unit: "MiB/s", runs: RUNS, measure: write },
    Figure { name: "64 MiB read", unit: "MiB/s", runs: RUNS, measure: read },
    Figure { name: "create 1,000 files", unit: "s", runs: RUNS, measure: create },
    Figure { name: "delete 1,000 files", unit: "s", runs: RUNS, measure: delete },
    Figure { name: "TCP from the container to the host", unit: "MiB/s", runs: RUNS, measure: tcp },
    Figure { name: "memory of an idle container (PSS)", unit: "MiB", runs: RUNS, measure: idle_memory },
    Figure { name: "processes of an idle container", unit: "", runs: 1, measure: idle_processes },
];

/// How much is moved where a rate is measured.
const MEBIBYTES: u32 = 64;

fn start(docker: &Docker, runtime: &str) -> Result<f64> {
    start_of(docker, runtime, "busybox")
}

/// Seconds of a container that does nothing.
pub(super) fn start_of(docker: &Docker, runtime: &str, image: &str) -> Result<f64> {
    let begin = Instant::now();
    run(docker, &["--rm", "--runtime", runtime, image, "true"])?;
    Ok(begin.elapsed().as_secs_f64())
}

fn ten_at_once(docker: &Docker, runtime: &str) -> Result<f64> {
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let starts: Vec<_> = (0..10).map(|_| scope.spawn(|| start(docker, runtime))).collect();
        starts.into_iter().try_for_each(|start| match start.join() {
            Ok(result) => result.map(drop),
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    Ok(begin.elapsed().as_secs_f64())
}

fn stdout(docker: &Docker, runtime: &str) -> Result<f64> {
    let nothing = start(docker, runtime)?;
    let begin = Instant::now();
    let write = format!("dd if=/dev/zero bs=1M count={MEBIBYTES} 2>/dev/null");
    let options = ["--rm", "--log-driver", "none", "--runtime", runtime, "busybox", "sh", "-c", &write];
    let bytes = run(docker, &options)?.len();
    ensure!(bytes == usize::try_from(MEBIBYTES)? << 20, "{bytes} bytes of {MEBIBYTES} MiB came out");
    Ok(f64::from(MEBIBYTES) / (begin.elapsed().as_secs_f64() - nothing).max(0.001))
}

fn find(docker: &Docker, runtime: &str, before: &str) -> Result<f64> {
    let volume = tempfile::tempdir()?;
    for directory in 0..50 {
        let directory = volume.path().join(directory.to_string());
        fs_err::create_dir(&directory)?;
        for file in 0..100 {
            fs_err::write(directory.join(file.to_string()), b"")?;
        }
    }
    let mount = format!("{}:/many", volume.path().display());
    seconds(docker, runtime, &["-v", &mount], before, "[ $(find /many -type f | wc -l) = 5000 ]")
}

fn write(docker: &Docker, runtime: &str) -> Result<f64> {
    let dd = format!("dd if=/dev/zero of=/file bs=1M count={MEBIBYTES} conv=fsync 2>/dev/null");
    Ok(f64::from(MEBIBYTES) / seconds(docker, runtime, &[], "", &dd)?)
}

fn read(docker: &Docker, runtime: &str) -> Result<f64> {
    let volume = tempfile::tempdir()?;
    fs_err::write(volume.path().join("file"), vec![0x5a; usize::try_from(MEBIBYTES)? << 20])?;
    let mount = format!("{}:/volume:ro", volume.path().display());
    let dd = "dd if=/volume/file of=/dev/null bs=1M 2>/dev/null";
    Ok(f64::from(MEBIBYTES) / seconds(docker, runtime, &["-v", &mount], "", dd)?)
}

const CREATE: &str = "for i in {1..1000}; do : > /files/$i; done";

fn create(docker: &Docker, runtime: &str) -> Result<f64> {
    seconds(docker, runtime, &[], "mkdir /files;", CREATE)
}

fn delete(docker: &Docker, runtime: &str) -> Result<f64> {
    seconds(docker, runtime, &[], &format!("mkdir /files; {CREATE};"), "rm -r /files")
}

fn tcp(docker: &Docker, runtime: &str) -> Result<f64> {
    let gateway =
        docker.output(&["network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"])?;
    let listener = TcpListener::bind((gateway.as_str(), 0)).context("cannot listen on the bridge")?;
    let port = listener.local_addr()?.port();
    let receiver = std::thread::spawn(move || {
        let mut bytes = 0;
        let mut buffer = vec![0; 1 << 20];
        let (mut connection, _) = listener.accept()?;
        loop {
            match connection.read(&mut buffer)? {
                0 => return std::io::Result::Ok(bytes),
                count => bytes += count,
            }
        }
    });
    let send = format!("head -c {MEBIBYTES}M /dev/zero > /dev/tcp/{gateway}/{port}");
    let seconds = seconds(docker, runtime, &[], "", &send)?;
    let received = receiver.join().map_err(|panic| std::panic::resume_unwind(panic)).unwrap_or(Ok(0))?;
    ensure!(received == usize::try_from(MEBIBYTES)? << 20, "{received} bytes arrived");
    Ok(f64::from(MEBIBYTES) / seconds)
}

/// An idle container and its processes on the host.
fn idle(docker: &Docker, runtime: &str, look: impl Fn(&[host::Process]) -> Result<f64>) -> Result<f64> {
    let name = unique_name();
    let options = ["--detach", "--name", &name, "-e", "RUNQ_MEM=256", "--runtime", runtime];
    let result = run(docker, &[&options[..], &["busybox", "sh", "-c", "echo idle; sleep 1000"]].concat())
        .and_then(|_| {
            let started = || docker.output(&["logs", &name]).is_ok_and(|log| log.contains("idle"));
            command::wait_until("the container", LIMIT, started)?;
            std::thread::sleep(std::time::Duration::from_secs(2));
            let id = docker.output(&["inspect", "--format", "{{.Id}}", &name])?;
            let mut processes = host::processes()?;
            processes.retain(|process| {
                fs_err::read_to_string(format!("/proc/{}/cgroup", process.pid))
                    .is_ok_and(|cgroup| cgroup.contains(&id))
            });
            look(&processes)
        });
    docker.output(&["rm", "--force", &name])?;
    result
}

fn idle_memory(docker: &Docker, runtime: &str) -> Result<f64> {
    idle(docker, runtime, |processes| {
        let kib = processes.iter().map(|process| pss_kib(process.pid)).sum::<Result<u32>>()?;
        Ok(f64::from(kib) / 1024.0)
    })
}

fn idle_processes(docker: &Docker, runtime: &str) -> Result<f64> {
    idle(docker, runtime, |processes| Ok(f64::from(u32::try_from(processes.len())?)))
}

/// Proportional share of memory.
fn pss_kib(pid: i32) -> Result<u32> {
    let rollup = fs_err::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss in smaps_rollup")?;
    line.split_whitespace().next().context("Pss without a number")?.parse().context("Pss is no number")
}

/// Seconds that `script` takes in bash, after `before`.
fn seconds(docker: &Docker, runtime: &str, options: &[&str], before: &str, script: &str) -> Result<f64> {
    let script = format!("{before} begin=$EPOCHREALTIME; {script} || exit; echo $begin $EPOCHREALTIME");
    let fixed = ["--rm", "--runtime", runtime];
    let output = run(docker, &[&fixed[..], options, &["debian", "bash", "-c", &script]].concat())?;
    let output = String::from_utf8(output)?;
    let (begin, end) =
        output.trim().lines().last().and_then(|line| line.split_once(' ')).context("no times")?;
    Ok((end.parse::<f64>()? - begin.parse::<f64>()?).max(0.0001))
}

fn run(docker: &Docker, options: &[&str]) -> Result<Vec<u8>> {
    let finished = command::run(docker.command().arg("run").args(options), &[], LIMIT)?;
    ensure!(
        finished.code == 0,
        "docker run {} ended with {}: {}",
        options.join(" "),
        finished.code,
        finished.stderr_text()
    );
    Ok(finished.stdout)
}
