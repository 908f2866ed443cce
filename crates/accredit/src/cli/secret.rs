//! Secret values: from a file, from standard input, or typed at a prompt that does not show them. Never from the command
//! line, which every process on the machine can read.

use std::io::{IsTerminal as _, Read as _};
use std::path::Path;

use accredit_api::Sensitive;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::Context;
use crate::failure::Failure;

/// Longest value in bytes, as the server has it.
const VALUE_BYTES_MAX: usize = 16 * 1024;

/// Reads a value. `from` is a path, or `-` for standard input; without it, a person is asked.
///
/// # Errors
/// When it cannot be read, is empty, too long or not text.
pub(crate) fn read(from: Option<&Path>, what: &str, context: &Context) -> Result<Sensitive, Failure> {
    let bytes = match from {
        None if std::io::stdin().is_terminal() => typed(what, context)?,
        None => {
            let failure = Failure::usage(format!("no {what} was given"), "nobody is there to type it");
            return Err(failure.todo("write it to standard input with `--value-file -`, or name a file"));
        }
        Some(path) if path == Path::new("-") => {
            read_all(std::io::stdin().lock(), Path::new("standard input"))?
        }
        Some(path) => read_all(std::fs::File::open(path).map_err(|e| Failure::file(path, &e))?, path)?,
    };
    value(&bytes, what)
}

fn read_all(reader: impl std::io::Read, named: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(VALUE_BYTES_MAX + 3));
    let most = u64::try_from(VALUE_BYTES_MAX + 3).unwrap_or(u64::MAX);
    reader.take(most).read_to_end(&mut bytes).map_err(|e| Failure::file(named, &e))?;
    Ok(bytes)
}

/// One line from the terminal with its echo off. A terminal that does not obey is refused rather than shown the value.
fn typed(what: &str, context: &Context) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let terminal = std::io::stdin();
    let hidden = Hidden::new(&terminal).map_err(|error| {
        let failure =
            Failure::usage(format!("no {what} was read"), format!("the terminal does not hide it: {error}"));
        failure.todo("write it to standard input with `--value-file -`, or name a file")
    })?;
    context.out.warn(&format!("{what} (not shown, ends with Enter):"));
    let mut line = Zeroizing::new(String::with_capacity(VALUE_BYTES_MAX));
    let read = terminal.read_line(&mut line);
    drop(hidden);
    read.map_err(|e| Failure::file(Path::new("the terminal"), &e))?;
    Ok(Zeroizing::new(line.as_bytes().to_vec()))
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden<'a> {
    terminal: &'a std::io::Stdin,
    before: Termios,
}

impl<'a> Hidden<'a> {
    fn new(terminal: &'a std::io::Stdin) -> rustix::io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

/// The value without the line end that editors and `echo` add.
fn value(bytes: &[u8], what: &str) -> Result<Sensitive, Failure> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let refused = |why: &str| Err(Failure::usage(format!("the {what} was not taken"), why));
    if bytes.is_empty() {
        return refused("it is empty");
    }
    if bytes.len() > VALUE_BYTES_MAX {
        return refused(&format!("it is longer than {VALUE_BYTES_MAX} bytes"));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Sensitive::new(text.to_owned())),
        Err(_) => refused("it is not text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_is_not_part_of_the_value() {
        let taken = |bytes: &[u8]| value(bytes, "value").map(|v| v.reveal().to_owned()).ok();
        assert_eq!(taken(b"abc"), Some("abc".to_owned()));
        assert_eq!(taken(b"abc\n"), Some("abc".to_owned()));
        assert_eq!(taken(b"abc\r\n"), Some("abc".to_owned()));
        assert_eq!(taken(b"abc\n\n"), Some("abc\n".to_owned()));
        assert_eq!(taken(b"\n"), None);
        assert_eq!(taken(&[0xff]), None);
        assert_eq!(taken(&vec![b'a'; VALUE_BYTES_MAX + 1]), None);
    }

    // case: SEC-09
    #[test]
    fn a_refused_value_is_not_repeated() {
        let long = "canary".repeat(VALUE_BYTES_MAX);
        let failure = value(long.as_bytes(), "value").expect_err("too long");
        assert!(!failure.lines().join("\n").contains("canary"));
    }
}
