//! The conversation with the proxy: sets the guest up, keeps the table of processes, and ends when the entrypoint did.

use crate::channel::{Control, Event, Events, Stream};
use crate::mounts::{DEVPTS, ROOT};
use crate::process::{Order, Running, StartError};
use crate::{control_group, disks, kernel_modules, modprobe, network, process, reaper, sigusr};
use anyhow::{Context, bail};
use nix::sched::{CloneFlags, unshare};
use runq_contract::channel::{ExitStatus, GuestMessage, HostMessage, StreamHeader, StreamKind};
use runq_contract::guest::{Guest, Share};
use runq_contract::network::Network;
use runq_contract::process::ProcessId;
use runq_contract::{BUILD_ID, paths};
use rustix::mount::MountFlags;
use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::AsFd;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long a guest that failed waits for the host.
const LINGER: Duration = Duration::from_secs(2);

/// Everything that the guest knows.
pub(crate) struct Session {
    events: Events,
    control: Option<Control>,
    guest: Guest,
    /// Streams of processes that are not started yet.
    streams: HashMap<(ProcessId, StreamKind), Stream>,
    /// Processes whose streams have not all arrived yet.
    waiting: Vec<Order>,
    processes: HashMap<ProcessId, Running>,
}

impl Session {
    /// Starts to watch for children that end.
    pub(crate) fn new(events: Events) -> anyhow::Result<Self> {
        reaper::watch(events.clone())?;
        // Children become members of a new PID namespace, whose PID 1 is the entrypoint.
        unshare(CloneFlags::CLONE_NEWPID).context("cannot make a PID namespace")?;
        Ok(Self {
            events,
            control: None,
            guest: Guest::default(),
            streams: HashMap::new(),
            waiting: Vec::new(),
            processes: HashMap::new(),
        })
    }

    /// Until the entrypoint ended or the host is gone.
    pub(crate) async fn run(mut self, mut events: mpsc::Receiver<Event>) -> anyhow::Result<()> {
        while let Some(event) = events.recv().await {
            let outcome = match event {
                Event::Closed => return Ok(()),
                event => self.handle(event).await,
            };
            if let Err(error) = outcome {
                self.say(GuestMessage::Failed { message: format!("{error:#}") }).await?;
                linger(&mut events).await;
                bail!(error);
            }
        }
        Ok(())
    }

    async fn say(&mut self, message: GuestMessage) -> anyhow::Result<()> {
        match &mut self.control {
            Some(control) => control.send(&message).await,
            None => bail!("there is no control stream yet"),
        }
    }

    async fn handle(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Control(control) => {
                self.control = Some(control);
                self.say(GuestMessage::Hello { build_id: BUILD_ID.to_owned() }).await
            }
            Event::Message(message) => self.obey(*message).await,
            Event::Stream(StreamHeader { process, kind }, stream) => {
                self.streams.insert((process, kind), stream);
                self.start_waiting().await
            }
            Event::OutputClosed(process) => {
                if let Some(running) = self.processes.get_mut(&process) {
                    running.open_outputs -= 1;
                }
                self.report_ended().await
            }
            Event::Child => {
                self.reap()?;
                self.report_ended().await
            }
            Event::Closed => Ok(()),
        }
    }

    async fn obey(&mut self, message: HostMessage) -> anyhow::Result<()> {
        match message {
            HostMessage::Boot { guest, network, share } => {
                set_up(&guest, &network, share).await?;
                self.guest = guest;
                self.say(GuestMessage::Ready).await
            }
            HostMessage::Start { process, spec, window } => {
                self.waiting.push(Order { id: process, spec, window });
                self.start_waiting().await
            }
            // A signal or a size for a process that has just ended is late, not wrong.
            HostMessage::Signal { process, signal } => {
                let Some(running) = self.processes.get(&process) else { return Ok(()) };
                match sigusr::program(&self.guest, signal) {
                    Some(program) => sigusr::run(program, running.pid, &running.spec, &self.guest),
                    None => running.signal(signal),
                }
            }
            HostMessage::Resize { process, window } => {
                if let Some(terminal) =
                    self.processes.get(&process).and_then(|running| running.terminal.as_ref())
                {
                    crate::stdio::resize(terminal.as_fd(), window)?;
                }
                Ok(())
            }
        }
    }

    /// Starts the processes whose streams are there.
    async fn start_waiting(&mut self) -> anyhow::Result<()> {
        for order in std::mem::take(&mut self.waiting) {
            let id = order.id;
            let kinds: &[StreamKind] = if order.spec.terminal {
                &[StreamKind::Stdin, StreamKind::Stdout]
            } else {
                &[StreamKind::Stdin, StreamKind::Stdout, StreamKind::Stderr]
            };
            if !kinds.iter().all(|kind| self.streams.contains_key(&(id, *kind))) {
                self.waiting.push(order);
                continue;
            }
            let streams = kinds.iter().filter_map(|kind| self.streams.remove(&(id, *kind))).collect();
            match process::start(&order, &self.guest, streams, &self.events) {
                Ok(running) => {
                    self.processes.insert(id, running);
                    self.say(GuestMessage::Started { process: id }).await?;
                }
                Err(StartError { reason, message }) => {
                    self.say(GuestMessage::StartFailed { process: id, reason, message }).await?;
                }
            }
        }
        Ok(())
    }

    /// Takes note of the processes that ended.
    fn reap(&mut self) -> anyhow::Result<()> {
        while let Some((pid, status)) = reaper::next_ended()? {
            for running in self.processes.values_mut().filter(|running| running.pid == pid) {
                running.status = Some(status);
            }
        }
        Ok(())
    }

    /// Reports the processes that ended and whose output was sent. The disks are written before the entrypoint's end
    /// is known, because the host may switch the guest off then.
    async fn report_ended(&mut self) -> anyhow::Result<()> {
        let ended: Vec<(ProcessId, ExitStatus)> = self
            .processes
            .iter()
            .filter(|(_, running)| running.open_outputs == 0)
            .filter_map(|(id, running)| Some((*id, running.status?)))
            .collect();
        for (process, status) in ended {
            self.processes.remove(&process);
            if process == ProcessId::ENTRYPOINT {
                disks::release(&self.guest);
                rustix::fs::sync();
            }
            let out_of_memory = control_group::killed_for_memory();
            self.say(GuestMessage::Exited { process, status, out_of_memory }).await?;
        }
        Ok(())
    }
}

/// Lets the last message reach the host, which ends the VM when it has read it.
async fn linger(events: &mut mpsc::Receiver<Event>) {
    let closed = async { while events.recv().await.is_some_and(|event| !matches!(event, Event::Closed)) {} };
    tokio::time::timeout(LINGER, closed).await.ok();
}

/// Everything around the processes.
async fn set_up(guest: &Guest, network: &Network, share: Share) -> anyhow::Result<()> {
    if !guest.hostname.is_empty() {
        rustix::system::sethostname(guest.hostname.as_bytes()).context("cannot set the host name")?;
    }
    if !guest.domainname.is_empty() {
        rustix::system::setdomainname(guest.domainname.as_bytes()).context("cannot set the domain name")?;
    }
    control_group::set_up(guest)?;
    network::configure(network).await?;
    for (key, value) in &guest.sysctl {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        std::fs::write(&path, value)
            .with_context(|| format!("cannot set the kernel parameter {key} to {value}"))?;
    }
    // A read-only root is the host's business: a flag here would make the volumes below it read-only, too.
    let options = match share {
        Share::Virtiofs => String::new(),
        Share::NineP => {
            format!("trans=virtio,version=9p2000.L,msize=512000,cache={}", guest.nine_p_cache.name())
        }
    };
    kernel_modules::load_all(&paths::share_modules(share))?;
    rustix::mount::mount(
        paths::ROOT_TAG,
        ROOT,
        share.name(),
        MountFlags::empty(),
        CString::new(options)?.as_c_str(),
    )
    .with_context(|| format!("cannot mount the container's root file system ({})", share.name()))?;
    modprobe::install()?;
    disks::set_up(guest)?;
    std::fs::create_dir(DEVPTS).with_context(|| format!("cannot make {DEVPTS}"))?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    rustix::mount::mount("devpts", DEVPTS, "devpts", flags, c"newinstance,ptmxmode=0666,mode=0620,gid=5")
        .context("cannot mount the container's pseudo-terminals")
}
