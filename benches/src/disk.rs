//! What this disk takes to make 512 bytes durable: the floor under every durable figure, measured beside it.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use crate::figures::{Times, short};
use crate::{Failure, Scale};

/// What one small record is: an append of this many bytes.
const RECORD_BYTES: usize = 512;

/// Times of `fdatasync` after an append, in a file below this directory.
pub(crate) fn flushes(directory: &Path, scale: Scale) -> Result<Times, Failure> {
    let mut file = OpenOptions::new().create(true).append(true).open(directory.join("flushes"))?;
    let mut times = Times::default();
    for _ in 0..scale.of(2_000, 50) {
        file.write_all(&[b'x'; RECORD_BYTES])?;
        let begun = Instant::now();
        file.sync_data()?;
        times.add(begun.elapsed());
    }
    Ok(times)
}

/// The line that goes with every durable figure.
pub(crate) fn note(times: &mut Times) -> String {
    let [p50, p99, most] = times.usual_us().map(short);
    format!("this disk: fdatasync of {RECORD_BYTES} bytes p50 {p50} us, p99 {p99} us, longest {most} us")
}
