//! `portolan check`: case files in, verdicts on the dataplane out.

mod api;
mod attempt;
pub(crate) mod build;
pub(crate) mod case;
mod checksum;
mod compare;
mod dns;
mod entry;
mod file;
mod flows;
mod kernel;
mod lb;
mod packets;
mod read;
mod report;
pub(crate) mod rig;
pub(crate) mod scalar;
mod verify;

use crate::CommandError;
use crate::backend::Backend;
use clap::Args;
use core::cell::RefCell;
use report::{Outcome, Report, Status};
use serde_json::Value;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

/// What `portolan check` is told.
#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// Case files (YAML)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Prints one JSON object per expectation; the counts still stand on the last line
    #[arg(long)]
    json: bool,
    /// Only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// What moves the packets
    #[arg(long, value_enum, default_value_t = Backend::Userspace)]
    backend: Backend,
}

/// Runs every file. A file that cannot be read is an error before any expectation is judged.
pub(crate) fn check(arguments: &CheckArguments) -> Result<ExitCode, CommandError> {
    let nftables = arguments.backend == Backend::Nftables;
    if nftables && let Some(code) = kernel::elsewhere()? {
        return Ok(code);
    }
    let mut files = Vec::new();
    let mut unreadable = false;
    for path in &arguments.files {
        match file::read(path) {
            Ok(file) => files.push((path.display().to_string(), file)),
            Err(error) => {
                unreadable = true;
                eprintln!("portolan: {error}");
            }
        }
    }
    if unreadable {
        return Ok(ExitCode::from(2));
    }
    let kernel = nftables.then(kernel::Kernel::new).transpose()?;
    let kernel = kernel.map(|kernel| Rc::new(RefCell::new(kernel)));
    let mut report = Report::new(std::io::stdout().lock(), arguments.json);
    let wanted = |name: &str| {
        arguments
            .filter
            .as_ref()
            .is_none_or(|filter| name.contains(filter.as_str()))
    };
    for (name, file) in &files {
        match file {
            file::CaseFile::Flows(file) => {
                for case in file.cases.iter().filter(|case| wanted(&case.name)) {
                    flows::run(name, case, kernel.as_ref(), &mut |outcome| {
                        report.add(outcome)
                    })?;
                }
            }
            file::CaseFile::Packets(_) if nftables => {
                report.add(&unjudged(
                    name,
                    "single packets are the userspace dataplane's",
                ))?;
            }
            file::CaseFile::Packets(file) => {
                for case in file.cases.iter().filter(|case| wanted(&case.name)) {
                    packets::run(name, case, &mut |outcome| report.add(outcome))?;
                }
            }
            file::CaseFile::Lb(file) => {
                for case in file.cases.iter().filter(|case| wanted(&case.name)) {
                    lb::run(name, case, &mut |outcome| report.add(outcome))?;
                }
            }
            file::CaseFile::Dns(file) => {
                dns::run(name, file, wanted, &mut |outcome| report.add(outcome))?;
            }
            file::CaseFile::Endpoints(file) => {
                api::endpoints::run(name, file, wanted, &mut |outcome| report.add(outcome))?;
            }
            file::CaseFile::Validation(file) => {
                api::validation::run(name, file, wanted, &mut |outcome| report.add(outcome))?;
                api::allocators::run(name, file, wanted, &mut |outcome| report.add(outcome))?;
            }
        }
    }
    let passed = report.finish()?;
    Ok(ExitCode::from(u8::from(!passed)))
}

/// A whole file that is not judged, and why.
fn unjudged(file: &str, reason: &str) -> Outcome {
    Outcome {
        file: file.to_owned(),
        case: "*".to_owned(),
        expectation: "*".to_owned(),
        status: Status::Skipped,
        tags: Value::Null,
        expected: String::new(),
        actual: reason.to_owned(),
    }
}

/// Takes what came of one expectation.
type Sink<'a> = &'a mut dyn FnMut(&Outcome) -> std::io::Result<()>;

/// The tags of a case and of something inside it, as one list.
fn joined(case: &Value, own: &Value) -> Value {
    let list = |value: &Value| match value {
        Value::Null => Vec::new(),
        Value::Array(values) => values.clone(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            vec![value.clone()]
        }
    };
    Value::Array(list(case).into_iter().chain(list(own)).collect())
}
