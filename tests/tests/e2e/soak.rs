//! The short form of `make soak`.

use anyhow::Result;
use runq_tests::bed::Bed;

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn containers_one_by_one_and_at_once_leave_nothing() -> Result<()> {
    runq_tests::soak::run(&Bed::alone()?, 5, 4)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn output_and_error_arrive_whole_at_once() -> Result<()> {
    runq_tests::soak::streams(&Bed::shared()?, 16)
}
