//! What the user sees while a bundle is built: on a terminal a line that moves, elsewhere one line per step.
//! Runs on the build machine.

use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Reports on standard error.
pub(crate) struct Progress {
    terminal: bool,
    started: Instant,
}

impl Progress {
    /// Looks at what standard error is.
    pub(crate) fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), started: Instant::now() }
    }

    /// Begins a step.
    #[allow(clippy::print_stderr, reason = "the only place that reports progress")]
    pub(crate) fn step(&self, what: &str) {
        eprintln!("[{:5.1} s] {what}", self.started.elapsed().as_secs_f32());
    }

    /// Begins a download of so many bytes (0: not known). The bar vanishes when it is dropped; without a terminal
    /// only large downloads are worth a line.
    pub(crate) fn download(&self, name: &str, size: u64) -> ProgressBar {
        const WORTH_A_LINE: u64 = 4_000_000;
        if !self.terminal {
            if size >= WORTH_A_LINE {
                self.step(&format!("  {name} ({})", DecimalBytes(size)));
            }
            return ProgressBar::hidden();
        }
        let bar = if size == 0 { ProgressBar::new_spinner() } else { ProgressBar::new(size) };
        let template =
            "          {wide_msg} {decimal_bytes:>9} / {decimal_total_bytes:<9} {decimal_bytes_per_sec:>11}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}
