//! What came of each expectation, printed for people or as one JSON object a line.

use serde::Serialize;
use serde_json::Value;
use std::io::Write;

/// What came of an expectation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// As expected.
    Passed,
    /// Not as expected.
    Failed,
    /// Not judged.
    Skipped,
}

/// One expectation and what came of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Outcome {
    pub(crate) file: String,
    pub(crate) case: String,
    /// Step and name of the expectation.
    pub(crate) expectation: String,
    pub(crate) status: Status,
    pub(crate) tags: Value,
    pub(crate) expected: String,
    pub(crate) actual: String,
}

/// Collects outcomes and prints what is to be seen of them.
#[derive(Debug)]
pub(crate) struct Report<W: Write> {
    out: W,
    json: bool,
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl<W: Write> Report<W> {
    pub(crate) fn new(out: W, json: bool) -> Self {
        Self {
            out,
            json,
            passed: 0,
            failed: 0,
            skipped: 0,
        }
    }

    /// Counts one outcome; prints it if it failed or was skipped, or if JSON was asked for.
    pub(crate) fn add(&mut self, outcome: &Outcome) -> std::io::Result<()> {
        match outcome.status {
            Status::Passed => self.passed += 1,
            Status::Failed => self.failed += 1,
            Status::Skipped => self.skipped += 1,
        }
        if self.json {
            let line = serde_json::to_string(outcome)?;
            return writeln!(self.out, "{line}");
        }
        let Outcome {
            file,
            case,
            expectation,
            expected,
            actual,
            ..
        } = outcome;
        match outcome.status {
            Status::Passed => Ok(()),
            Status::Failed => writeln!(
                self.out,
                "FAILED {file}: {case}: {expectation}: expected {expected}; got {actual}"
            ),
            Status::Skipped => {
                writeln!(self.out, "SKIPPED {file}: {case}: {expectation}: {actual}")
            }
        }
    }

    /// Prints the last line; true if nothing failed.
    pub(crate) fn finish(mut self) -> std::io::Result<bool> {
        writeln!(
            self.out,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )?;
        self.out.flush()?;
        Ok(self.failed == 0)
    }
}
