//! A shell inside a running task, to which a test says one line after the other.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use crate::harness::{Accredit, Run};

/// What no command prints: the end of its output.
const END: &str = "--the end of this line--";

/// The shell. Its task ends with it.
pub struct Shell {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Shell {
    /// Starts a task around a shell.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    #[must_use]
    pub fn start(accredit: &Accredit, run: &Run) -> Self {
        let mut command = run.around(accredit, &["sh"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("the command can be started");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("it has an output"));
        Self { child, stdin, stdout }
    }

    /// Runs one line. Gives what it printed.
    ///
    /// # Panics
    /// When the shell has gone.
    #[track_caller]
    pub fn run(&mut self, line: &str) -> String {
        self.begin(line);
        self.finish()
    }

    /// Begins to run one line, without waiting for it.
    ///
    /// # Panics
    /// When the shell has gone.
    #[track_caller]
    pub fn begin(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("it was not ended");
        writeln!(stdin, "{line}\necho; echo '{END}'").expect("the shell is there");
    }

    /// Waits for the end of the line that was begun. Gives what it printed.
    ///
    /// # Panics
    /// When the shell has gone.
    #[track_caller]
    pub fn finish(&mut self) -> String {
        let mut said = String::new();
        loop {
            let before = said.len();
            let read = self.stdout.read_line(&mut said).expect("text");
            assert!(read > 0, "the shell has gone after: {said}");
            if said[before..].trim_end() == END {
                said.truncate(before.saturating_sub(1));
                return said;
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // At the end of its input a shell goes, and its task with it.
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}
