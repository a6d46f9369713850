//! The life of a VM from the first message to the exit code: set the guest up, start the entrypoint, pass signals and
//! sizes on, wait for the end. Everything that the guest says is a claim in a bounded type; a guest that says
//! something out of turn is ended.

use crate::channel::{Channel, Control, Messages};
use crate::signals::{Event, Watched};
use crate::stdio;
use anyhow::{Context, anyhow, bail};
use runq_contract::BUILD_ID;
use runq_contract::channel::{ExitStatus, GuestMessage, HostMessage, StartFailure, StreamHeader, StreamKind};
use runq_contract::process::{Process, ProcessId};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How the entrypoint ended.
#[derive(Debug)]
pub(crate) enum End {
    /// It ran.
    Exited(ExitStatus),
    /// It could not be started; the message is for the user.
    NotStarted(StartFailure, String),
}

/// What the session needs from the outside.
pub(crate) struct Session {
    /// Opens streams.
    pub(crate) channel: Channel,
    /// Signals sent to the container.
    pub(crate) signals: Watched,
    /// The two processes without which there is no guest.
    pub(crate) children: Children,
    /// What to run.
    pub(crate) entrypoint: Process,
    /// From now to the start of the entrypoint.
    pub(crate) boot_timeout: Duration,
}

/// The programs of the bundle that make the VM.
pub(crate) struct Children {
    /// The VM.
    pub(crate) qemu: Child,
    /// Serves the share, unless QEMU does.
    pub(crate) virtiofsd: Option<Child>,
}

/// The state once the control stream is open.
struct Conversation {
    control: Control,
    messages: Messages,
    channel: Channel,
    signals: Watched,
    children: Children,
    /// Signals that came before there was a process to send them to.
    early_signals: Vec<u8>,
    started: bool,
    has_terminal: bool,
}

/// What happened.
enum Incident {
    Message(GuestMessage),
    Signal(Event),
}

impl Session {
    /// Boots the guest, runs the entrypoint and returns when it ended and its output is written.
    pub(crate) async fn run(self, orders: HostMessage) -> anyhow::Result<End> {
        let Self { channel, signals, children, entrypoint, boot_timeout } = self;
        let (control, messages) = channel.open_control().await?;
        let has_terminal = entrypoint.terminal;
        let mut conversation = Conversation {
            control,
            messages,
            channel,
            signals,
            children,
            early_signals: Vec::new(),
            started: false,
            has_terminal,
        };
        let boot = conversation.boot(orders, entrypoint);
        let relays = match tokio::time::timeout(boot_timeout, boot).await {
            Ok(Ok(Ok(relays))) => relays,
            Ok(Ok(Err(end))) => return Ok(end),
            Ok(Err(error)) => return Err(conversation.explain(error).await),
            Err(_) => bail!(
                "the guest did not come up within {} seconds; an emulated one may need more: --boot-timeout SECONDS in runtimeArgs",
                boot_timeout.as_secs()
            ),
        };
        match conversation.wait().await {
            Ok((status, out_of_memory)) => {
                relays.finish().await?;
                if out_of_memory > 0 {
                    crate::report(&format!(
                        "the guest's memory was used up, and its kernel killed processes ({out_of_memory}): give the \
                         container more with -m or RUNQ_MEM"
                    ));
                }
                Ok(End::Exited(status))
            }
            Err(error) => Err(conversation.explain(error).await),
        }
    }
}

impl Conversation {
    /// Until the entrypoint runs, or is known not to.
    async fn boot(
        &mut self,
        orders: HostMessage,
        entrypoint: Process,
    ) -> anyhow::Result<Result<Relays, End>> {
        self.control.send(&orders).await?;
        match self.next_message().await? {
            GuestMessage::Hello { build_id } if build_id == BUILD_ID => {}
            GuestMessage::Hello { build_id } => bail!(
                "the guest's init is of build {}, expected {BUILD_ID}: the initrd does not belong to this proxy",
                build_id.escape_default()
            ),
            other => return unexpected(&other),
        }
        match self.next_message().await? {
            GuestMessage::Ready => {}
            other => return unexpected(&other),
        }
        let relays = Relays::open(&self.channel, entrypoint.terminal).await?;
        let window = if entrypoint.terminal { stdio::window(std::io::stdin().as_fd()) } else { None };
        let start = HostMessage::Start { process: ProcessId::ENTRYPOINT, spec: entrypoint, window };
        self.control.send(&start).await?;
        match self.next_message().await? {
            GuestMessage::Started { process: ProcessId::ENTRYPOINT } => {}
            GuestMessage::StartFailed { process: ProcessId::ENTRYPOINT, reason, message } => {
                return Ok(Err(End::NotStarted(reason, message)));
            }
            other => return unexpected(&other),
        }
        self.started = true;
        for signal in std::mem::take(&mut self.early_signals) {
            self.forward(signal).await?;
        }
        Ok(Ok(relays))
    }

    /// Until the entrypoint ended; also gives how many processes the kernel killed for want of memory.
    async fn wait(&mut self) -> anyhow::Result<(ExitStatus, u32)> {
        match self.next_message().await? {
            GuestMessage::Exited { process: ProcessId::ENTRYPOINT, status, out_of_memory } => {
                Ok((status, out_of_memory))
            }
            other => unexpected(&other),
        }
    }

    /// The guest's next word; signals are dealt with meanwhile.
    async fn next_message(&mut self) -> anyhow::Result<GuestMessage> {
        loop {
            let incident = tokio::select! {
                message = self.messages.recv() => match message {
                    Some(message) => Incident::Message(message?),
                    None => return Err(self.children.end_of_vm().await),
                },
                event = self.signals.next() => Incident::Signal(event.context("cannot read signals")?),
            };
            match incident {
                Incident::Message(GuestMessage::Failed { message }) => {
                    bail!("the guest failed: {}", message.escape_debug())
                }
                Incident::Message(message) => return Ok(message),
                Incident::Signal(event) => self.handle(event).await?,
            }
        }
    }

    async fn handle(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Child => self.children.check_virtiofsd(),
            Event::Window if self.has_terminal => self.resize().await,
            Event::Window => self.forward(nix::sys::signal::Signal::SIGWINCH as u8).await,
            Event::Forward(signal) => self.forward(signal).await,
        }
    }

    async fn forward(&mut self, signal: u8) -> anyhow::Result<()> {
        if !self.started {
            self.early_signals.push(signal);
            return Ok(());
        }
        self.control.send(&HostMessage::Signal { process: ProcessId::ENTRYPOINT, signal }).await
    }

    async fn resize(&mut self) -> anyhow::Result<()> {
        match stdio::window(std::io::stdin().as_fd()) {
            Some(window) if self.started => {
                self.control.send(&HostMessage::Resize { process: ProcessId::ENTRYPOINT, window }).await
            }
            _ => Ok(()),
        }
    }

    /// Adds what the multiplexer knows to an error.
    async fn explain(self, error: anyhow::Error) -> anyhow::Error {
        match self.channel.violation().await {
            Some(violation) => violation.context(error.to_string()),
            None => error,
        }
    }
}

impl Children {
    /// Without virtiofsd the guest would wait for its root file system for ever. It ends by itself, and well, when QEMU
    /// has ended; that shows in the channel, after everything that the guest had said.
    fn check_virtiofsd(&mut self) -> anyhow::Result<()> {
        let Some(virtiofsd) = &mut self.virtiofsd else { return Ok(()) };
        match virtiofsd.try_wait().context("cannot wait for virtiofsd")? {
            Some(status) if !status.success() => {
                bail!("virtiofsd, which serves the container's files, ended: {status}")
            }
            _ => Ok(()),
        }
    }

    /// Why there is no VM any more. The process ends a little after its socket is closed.
    async fn end_of_vm(&mut self) -> anyhow::Error {
        for _ in 0..100 {
            match self.qemu.try_wait() {
                Ok(Some(status)) if status.signal() == Some(nix::libc::SIGKILL) => {
                    return anyhow!(
                        "the virtual machine was killed from outside, by a signal or because the host's memory was used up"
                    );
                }
                Ok(Some(status)) => return anyhow!("the virtual machine ended by itself: QEMU's {status}"),
                Ok(None) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(error) => return anyhow::Error::from(error).context("cannot wait for QEMU"),
            }
        }
        anyhow!("the guest closed the channel")
    }
}

fn unexpected<T>(message: &GuestMessage) -> anyhow::Result<T> {
    let text = format!("{message:?}");
    bail!("the guest said something out of turn: {}", text.chars().take(200).collect::<String>())
}

/// The entrypoint's streams, moving.
struct Relays {
    outputs: JoinSet<anyhow::Result<()>>,
    exited: watch::Sender<bool>,
}

impl Relays {
    /// Opens the streams and starts to move their bytes.
    async fn open(channel: &Channel, terminal: bool) -> anyhow::Result<Self> {
        let header = |kind| StreamHeader { process: ProcessId::ENTRYPOINT, kind };
        if terminal {
            stdio::make_raw(std::io::stdin().as_fd())?;
        }
        let (exited, receiver) = watch::channel(false);
        let input = channel.open_stream(header(StreamKind::Stdin)).await?;
        tokio::task::spawn_local(stdio::feed(std::io::stdin(), input));
        let mut outputs = JoinSet::new();
        let output = channel.open_stream(header(StreamKind::Stdout)).await?;
        outputs.spawn_local(stdio::drain(output, std::io::stdout(), receiver.clone()));
        if !terminal {
            let output = channel.open_stream(header(StreamKind::Stderr)).await?;
            outputs.spawn_local(stdio::drain(output, std::io::stderr(), receiver));
        }
        Ok(Self { outputs, exited })
    }

    /// Waits until all output is written.
    async fn finish(mut self) -> anyhow::Result<()> {
        self.exited.send_replace(true);
        while let Some(result) = self.outputs.join_next().await {
            result.context("a relay failed")??;
        }
        Ok(())
    }
}
