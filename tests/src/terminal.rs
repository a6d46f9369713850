//! A program on a pseudo-terminal, as in a user's window. On the host, for the tests of `docker run -t`.

use crate::command;
use anyhow::{Context, Result};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The user's side of the terminal.
pub struct Terminal {
    controller: fs_err::File,
    shown: Arc<Mutex<Vec<u8>>>,
    child: Child,
}

impl Terminal {
    /// Starts `command` on a new terminal of this size.
    ///
    /// # Errors
    /// When there is no terminal to be had or the program cannot be started.
    pub fn start(command: &mut Command, rows: u16, columns: u16) -> Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let controller = openpt(flags).context("cannot open a terminal")?;
        grantpt(&controller)?;
        unlockpt(&controller)?;
        let user: OwnedFd = ioctl_tiocgptpeer(&controller, flags)?;
        let controller = fs_err::File::from_parts(controller.into(), "/dev/ptmx");
        resize(&controller, rows, columns)?;
        command.stdin(user.try_clone()?).stdout(user.try_clone()?).stderr(user);
        let child = command.spawn().context("cannot start the program")?;
        // Closes our copies of the user's side, so that the end of the program is the end of its output.
        command
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, sink) = (controller.file().try_clone()?, Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut block = [0; 4096];
            // A terminal whose last user is gone reads as EIO.
            while let Ok(bytes @ 1..) = reader.read(&mut block) {
                sink.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&block[..bytes]);
            }
        });
        Ok(Self { controller, shown, child })
    }

    /// Types.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn type_in(&mut self, keys: &str) -> Result<()> {
        Ok(self.controller.write_all(keys.as_bytes())?)
    }

    /// Drags the corner of the window.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        resize(&self.controller, rows, columns)?;
        let pid = rustix::process::Pid::from_child(&self.child);
        // The program is not in the foreground of this terminal's session, so the kernel does not tell it.
        Ok(rustix::process::kill_process(pid, rustix::process::Signal::WINCH)?)
    }

    /// All that was shown so far.
    #[must_use]
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Waits until `text` was shown.
    ///
    /// # Errors
    /// When it is not within `timeout`; the error has what was shown instead.
    pub fn wait_for(&self, text: &str, timeout: Duration) -> Result<()> {
        command::wait_until(&format!("{text:?} on the terminal"), timeout, || self.shown().contains(text))
            .with_context(|| format!("the terminal shows {:?}", self.shown()))
    }

    /// Waits for the end of the program.
    ///
    /// # Errors
    /// When it does not end within `timeout`.
    pub fn end(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let mut status = None;
        command::wait_until("the program on the terminal to end", timeout, || {
            status = self.child.try_wait().ok().flatten();
            status.is_some()
        })
        .with_context(|| format!("the terminal shows {:?}", self.shown()))?;
        status.context("no status")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Fails when it has ended, which is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn resize(controller: &fs_err::File, rows: u16, columns: u16) -> Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(controller.file(), size)?)
}
