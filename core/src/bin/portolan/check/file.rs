//! Reads a case file; what is wrong with it is said with line and field.

use super::api::case::{EndpointsFile, ValidationFile};
use super::case::{FlowsFile, Head, PacketsFile};
use super::dns::case::DnsFile;
use super::lb::case::LbFile;
use core::fmt;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// A case file that was understood.
#[derive(Debug)]
pub(crate) enum CaseFile {
    /// Kind `flows`.
    Flows(FlowsFile),
    /// Kind `packets`.
    Packets(PacketsFile),
    /// Kind `lb`.
    Lb(LbFile),
    /// Kind `dns`.
    Dns(DnsFile),
    /// Kind `endpoints`.
    Endpoints(EndpointsFile),
    /// Kind `validation`.
    Validation(Box<ValidationFile>),
}

/// Why a case file cannot be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The file system says no.
    File(PathBuf, std::io::Error),
    /// The text is not what the format says.
    Field {
        path: PathBuf,
        line: u64,
        field: String,
        rule: String,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Field {
                path,
                line,
                field,
                rule,
            } => write!(f, "{}:{line}: {field}: {rule}", path.display()),
        }
    }
}

impl core::error::Error for ReadError {}

/// Reads YAML into `T`, naming line and field of what does not fit.
///
/// # Errors
///
/// See [`ReadError::Field`].
pub(crate) fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ReadError> {
    // The text is the user's own and already in memory: budgets against hostile input would only limit it.
    let options = serde_saphyr::options! {
        budget: None,
        strict_booleans: true,
        with_snippet: false,
    };
    let mut field = String::new();
    serde_saphyr::with_deserializer_from_str_with_options(text, options, |deserializer| {
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            field = error.path().to_string();
            error.into_inner()
        })
    })
    .map_err(|error| {
        let rule = error.without_snippet().to_string();
        let rule = rule.split(" at line ").next().unwrap_or_default();
        ReadError::Field {
            path: path.to_owned(),
            line: error.location().map_or(0, |at| at.line()),
            field: core::mem::take(&mut field),
            rule: rule.to_owned(),
        }
    })
}

/// Reads a case file.
///
/// # Errors
///
/// See [`ReadError`].
pub(crate) fn read(path: &Path) -> Result<CaseFile, ReadError> {
    let text =
        std::fs::read_to_string(path).map_err(|error| ReadError::File(path.to_owned(), error))?;
    let head: Head = parse(path, &text)?;
    let wrong = |field: &str, rule: String| ReadError::Field {
        path: path.to_owned(),
        line: 1,
        field: field.to_owned(),
        rule,
    };
    if let Some(version) = head.version.filter(|version| *version != 1) {
        let rule = format!("version {version} of the format is not known: 1 is");
        return Err(wrong("version", rule));
    }
    match head.kind.as_deref() {
        None | Some("flows") => parse(path, &text).map(CaseFile::Flows),
        Some("packets") => parse(path, &text).map(CaseFile::Packets),
        Some("lb") => parse(path, &text).map(CaseFile::Lb),
        Some("dns") => parse(path, &text).map(CaseFile::Dns),
        Some("endpoints") => parse(path, &text).map(CaseFile::Endpoints),
        Some("validation") => parse(path, &text).map(|file| CaseFile::Validation(Box::new(file))),
        Some(kind) => Err(wrong("kind", format!("`{kind}` is no kind of case file"))),
    }
}
