//! Case files about the API server's part: endpoints of Pods, rules for Services, what is allocated.

pub(super) mod allocators;
pub(super) mod case;
pub(super) mod endpoints;
pub(super) mod validation;

use super::report::{Outcome, Status};
use serde_json::Value;

/// Where the outcomes of one case go, and what stands in each.
pub(super) struct Bench<'a> {
    file: &'a str,
    case: &'a str,
    tags: &'a Value,
    sink: super::Sink<'a>,
}

impl Bench<'_> {
    /// Notes what came of one expectation; `actual` is an error if it is not what was expected.
    fn judge(
        &mut self,
        expectation: String,
        expected: String,
        actual: Result<String, String>,
    ) -> std::io::Result<()> {
        let (status, actual) = match actual {
            Ok(actual) => (Status::Passed, actual),
            Err(actual) => (Status::Failed, actual),
        };
        self.add(expectation, expected, actual, status)
    }

    fn skip(&mut self, expectation: String, reason: &str) -> std::io::Result<()> {
        let reason = reason.to_owned();
        self.add(expectation, String::new(), reason, Status::Skipped)
    }

    fn add(
        &mut self,
        expectation: String,
        expected: String,
        actual: String,
        status: Status,
    ) -> std::io::Result<()> {
        (self.sink)(&Outcome {
            file: self.file.to_owned(),
            case: self.case.to_owned(),
            expectation,
            status,
            tags: self.tags.clone(),
            expected,
            actual,
        })
    }
}
