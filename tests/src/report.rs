//! What the sandbox tells its user: one line per step, on standard error, as soon as the step begins.

/// Says what happens now.
#[expect(clippy::print_stderr, reason = "this is the one place where the test bed prints")]
pub fn step(what: impl std::fmt::Display) {
    eprintln!("==> {what}");
}

/// Adds a detail to the step.
#[expect(clippy::print_stderr, reason = "this is the one place where the test bed prints")]
pub fn detail(what: impl std::fmt::Display) {
    eprintln!("    {what}");
}
