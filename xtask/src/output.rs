//! Where a chore's text goes. A reader that has seen enough (`| head`) is no error.

use std::io::{self, Write};

/// Writes one line to standard output.
pub(crate) fn line(text: &str) {
    write(io::stdout().lock(), text);
}

/// Writes one line to standard error.
pub(crate) fn problem(text: &str) {
    write(io::stderr().lock(), text);
}

/// The only error that can be expected is a reader that has gone, and there is nobody left to tell.
fn write(mut to: impl Write, text: &str) {
    let _ = writeln!(to, "{text}");
}
