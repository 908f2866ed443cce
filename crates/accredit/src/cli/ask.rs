//! Commands that take something away say what, and go on when a person agrees or `--yes` stands on the line.

use clap::Args;

use super::Context;
use crate::failure::Failure;

/// How a command that takes something away is to behave.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Consent {
    /// Do it without asking
    #[arg(long, short = 'y')]
    yes: bool,
    /// Say what would be done, and do nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
}

impl Consent {
    /// Whether nothing is to be done.
    pub(crate) const fn is_dry_run(self) -> bool {
        self.dry_run
    }

    /// Whether to go on. `deed` is what will be done: "agent `x` is suspended and its tasks end".
    ///
    /// # Errors
    /// When nobody is there to ask.
    pub(crate) fn given(self, context: &Context, deed: &str) -> Result<bool, Failure> {
        if self.dry_run {
            context.out.warn(&format!("would do: {deed}"));
            return Ok(false);
        }
        if self.yes {
            return Ok(true);
        }
        if !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
            let failure = Failure::usage("nothing was done", format!("nobody is there to confirm: {deed}"));
            return Err(failure.todo("repeat it with --yes, or look first with --dry-run"));
        }
        let agreed = context.out.confirm(&format!("{deed}. Go on?"));
        if !agreed {
            context.out.say("nothing was done");
        }
        Ok(agreed)
    }
}
