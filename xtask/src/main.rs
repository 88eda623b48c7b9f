//! Set-up of native parts, reproduce, data, test and lint.
fn main() {}
