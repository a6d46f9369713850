//! What the user sees of the work: on a terminal a bar for each download and one for all of them, elsewhere one line per
//! step, and nothing at all when he wants it quiet. Runs on the build machine.

use indicatif::{DecimalBytes, MultiProgress, ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal, Read};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const ONE: &str =
    "          {wide_msg} {decimal_bytes:>9} / {decimal_total_bytes:<9} {decimal_bytes_per_sec:>11}";
/// A server need not say how much it sends.
const UNKNOWN: &str = "          {wide_msg} {decimal_bytes:>9}             {decimal_bytes_per_sec:>11}";
const ALL: &str =
    "  total   {wide_bar} {decimal_bytes:>9} / {decimal_total_bytes:<9} {decimal_bytes_per_sec:>11}";

/// Reports on standard error.
pub(crate) struct Progress {
    started: Instant,
    form: Form,
}

enum Form {
    Quiet,
    Lines,
    Bars { all: MultiProgress, sum: Mutex<Sum> },
}

/// Of all downloads.
struct Sum {
    bar: Option<ProgressBar>,
    running: usize,
    /// Bytes that were announced and whose download has not begun.
    announced: u64,
    done: u64,
    size: u64,
}

impl Progress {
    /// Looks at what standard error is.
    pub(crate) fn new(quiet: bool) -> Self {
        let form = match quiet {
            true => Form::Quiet,
            false if io::stderr().is_terminal() => Form::bars(MultiProgress::new()),
            false => Form::Lines,
        };
        Self { started: Instant::now(), form }
    }

    /// Begins a step.
    #[allow(clippy::print_stderr, reason = "the only place that reports progress")]
    pub(crate) fn step(&self, what: &str) {
        let line = format!("[{:5.1} s] {what}", self.started.elapsed().as_secs_f32());
        match &self.form {
            Form::Quiet => {}
            Form::Lines => eprintln!("{line}"),
            // A terminal that is gone is no reason to stop.
            Form::Bars { all, .. } => drop(all.println(line)),
        }
    }

    /// Says how many bytes the downloads that follow have in sum, so that the end is in sight from the start.
    pub(crate) fn announce(&self, downloads: usize, bytes: u64) {
        if downloads > 0 {
            self.step(&format!("download {downloads} files, {}", DecimalBytes(bytes)));
        }
        if let Form::Bars { sum, .. } = &self.form {
            let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
            sum.announced += bytes;
            sum.size += bytes;
        }
    }

    /// Begins a download of so many bytes (0: not known). Without a terminal only large ones are worth a line.
    pub(crate) fn download(&self, name: &str, size: u64) -> Download<'_> {
        const WORTH_A_LINE: u64 = 4_000_000;
        if size >= WORTH_A_LINE && matches!(self.form, Form::Lines) {
            self.step(&format!("  {name} ({})", DecimalBytes(size)));
        }
        let bar = match &self.form {
            Form::Bars { all, sum } => {
                sum.lock().unwrap_or_else(PoisonError::into_inner).begin(size, all);
                // Above the sum, which stays the last line.
                all.insert(0, bar(size, if size == 0 { UNKNOWN } else { ONE }))
            }
            Form::Quiet | Form::Lines => ProgressBar::hidden(),
        };
        bar.set_message(name.to_owned());
        Download { progress: self, bar, size, at: 0 }
    }
}

impl Form {
    fn bars(all: MultiProgress) -> Self {
        let sum = Sum { bar: None, running: 0, announced: 0, done: 0, size: 0 };
        Self::Bars { all, sum: Mutex::new(sum) }
    }
}

impl Sum {
    fn begin(&mut self, size: u64, all: &MultiProgress) {
        let known = size.min(self.announced);
        self.announced -= known;
        self.size += size - known;
        self.running += 1;
        self.bar.get_or_insert_with(|| all.add(bar(0, ALL)));
        self.show();
    }

    /// The line is there while something is downloaded; the sum goes on with the next download.
    fn end(&mut self) {
        self.running -= 1;
        self.show();
        if self.running == 0
            && let Some(bar) = self.bar.take()
        {
            bar.finish_and_clear();
        }
    }

    fn show(&self) {
        if let Some(bar) = &self.bar {
            bar.set_length(self.size);
            bar.set_position(self.done);
        }
    }
}

fn bar(size: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(size);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A download under way. Its bar vanishes when it is dropped; what did not arrive does not count.
pub(crate) struct Download<'a> {
    progress: &'a Progress,
    bar: ProgressBar,
    size: u64,
    at: u64,
}

impl Download<'_> {
    /// So many more bytes are there.
    pub(crate) fn advance(&mut self, bytes: u64) {
        self.at += bytes;
        self.bar.inc(bytes);
        self.change(|sum| sum.done += bytes);
    }

    fn change(&self, change: impl FnOnce(&mut Sum)) {
        if let Form::Bars { sum, .. } = &self.progress.form {
            let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut sum);
            sum.show();
        }
    }
}

impl Drop for Download<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        let (size, at) = (self.size, self.at);
        self.change(|sum| {
            if at < size {
                // It is tried again, or the end of everything.
                sum.done -= at;
                sum.announced += size;
            } else {
                sum.size += at - size;
            }
            sum.end();
        });
    }
}

/// Counts what is read from another reader.
pub(crate) struct Counted<'a, R> {
    pub(crate) download: Download<'a>,
    pub(crate) reader: R,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.download.advance(count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::ProgressDrawTarget;

    fn sum(progress: &Progress) -> (u64, u64, usize) {
        let Form::Bars { sum, .. } = &progress.form else { panic!("no bars") };
        let sum = sum.lock().unwrap();
        (sum.done, sum.size, sum.running)
    }

    #[test]
    fn the_sum_counts_what_is_announced_once_and_what_is_lost_not_at_all() {
        let hidden = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        let progress = Progress { started: Instant::now(), form: Form::bars(hidden) };
        progress.announce(2, 100);
        let mut first = progress.download("first", 60);
        let mut second = progress.download("second", 40);
        first.advance(60);
        second.advance(10);
        assert_eq!(sum(&progress), (70, 100, 2));
        drop((first, second));
        assert_eq!(sum(&progress), (60, 100, 0));
        let mut again = progress.download("second", 40);
        again.advance(40);
        drop(again);
        assert_eq!(sum(&progress), (100, 100, 0));
        let mut read = Counted { download: progress.download("unknown", 0), reader: &b"seven b"[..] };
        io::copy(&mut read, &mut io::sink()).unwrap();
        drop(read);
        assert_eq!(sum(&progress), (107, 107, 0));
    }
}
