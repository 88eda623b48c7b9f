//! Reports of synthetic run folders: what is printed, what is refused.
#![allow(clippy::unwrap_used)]

mod outputs;
mod page;
mod refusals;
mod runs;
mod versus;

fn check(got: &str, expected: expect_test::Expect) {
    expected.assert_eq(got);
}
