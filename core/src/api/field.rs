//! What is wrong with a field, in the words of the API server.
//!
//! Kubernetes prints such an error as `path: kind: "value": detail`, and scripts and people know it in that form: so
//! does this, to the letter (`k8s.io/apimachinery/pkg/util/validation/field`).

use crate::model::Rejection;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Display, Write};

/// The kinds of field errors that a Service can meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// `FieldValueRequired`: it must be given.
    Required,
    /// `FieldValueInvalid`: the value is malformed or out of bounds.
    Invalid,
    /// `FieldValueForbidden`: no value is allowed here.
    Forbidden,
    /// `FieldValueNotSupported`: not one of an enumeration.
    NotSupported,
    /// `FieldValueDuplicate`: the value must be unique and is not.
    Duplicate,
    /// `InternalError`: the request is sound and cannot be carried out, as when a range is full.
    Internal,
}

impl ErrorKind {
    /// The short name, as case files write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Required => "Required",
            Self::Invalid => "Invalid",
            Self::Forbidden => "Forbidden",
            Self::NotSupported => "NotSupported",
            Self::Duplicate => "Duplicate",
            Self::Internal => "InternalError",
        }
    }
}

/// One thing wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldError {
    /// The path, as Kubernetes writes it: `spec.ports[0].nodePort`.
    pub field: String,
    /// What kind of error it is.
    pub kind: ErrorKind,
    /// The value found, as Kubernetes prints it (strings in quotes); empty where the kind has none.
    pub value: String,
    /// The rule, or empty.
    pub detail: String,
}

impl Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            field,
            kind,
            value,
            detail,
        } = self;
        if !field.is_empty() {
            write!(f, "{field}: ")?;
        }
        match kind {
            ErrorKind::Required => f.write_str("Required value")?,
            ErrorKind::Forbidden => f.write_str("Forbidden")?,
            ErrorKind::Invalid => write!(f, "Invalid value: {value}")?,
            ErrorKind::NotSupported => write!(f, "Unsupported value: {value}")?,
            ErrorKind::Duplicate => write!(f, "Duplicate value: {value}")?,
            ErrorKind::Internal => f.write_str("Internal error")?,
        }
        if !detail.is_empty() {
            write!(f, ": {detail}")?;
        }
        Ok(())
    }
}

impl FieldError {
    /// The same as it is told of an object: what is refused, where, and by which rule.
    #[must_use]
    pub fn of(&self, object: &str) -> Rejection {
        let whole = self.to_string();
        let rule = whole
            .strip_prefix(self.field.as_str())
            .map_or(whole.as_str(), |rest| rest.trim_start_matches(": "));
        Rejection {
            object: object.into(),
            field: self.field.clone(),
            rule: rule.into(),
        }
    }
}

/// A value as it is printed in an error.
pub(super) trait Shown {
    fn shown(&self) -> String;
}

impl Shown for str {
    fn shown(&self) -> String {
        let mut text = String::from("\"");
        for letter in self.chars() {
            let _ = match letter {
                '"' | '\\' => write!(text, "\\{letter}"),
                '\n' => write!(text, "\\n"),
                '\t' => write!(text, "\\t"),
                _ if letter.is_control() => write!(text, "\\u{:04x}", u32::from(letter)),
                _ => write!(text, "{letter}"),
            };
        }
        text.push('"');
        text
    }
}

impl Shown for String {
    fn shown(&self) -> String {
        self.as_str().shown()
    }
}

impl Shown for i32 {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Shown for [String] {
    fn shown(&self) -> String {
        let items: Vec<_> = self.iter().map(Shown::shown).collect();
        alloc::format!("[{}]", items.join(","))
    }
}

impl Shown for Option<String> {
    fn shown(&self) -> String {
        self.as_ref()
            .map_or_else(|| "null".to_string(), Shown::shown)
    }
}

/// The errors found so far, in the order of the rules.
#[derive(Debug, Default)]
pub(super) struct Errors(pub(super) Vec<FieldError>);

impl Errors {
    fn push(&mut self, field: impl Display, kind: ErrorKind, value: String, detail: impl Display) {
        self.0.push(FieldError {
            field: field.to_string(),
            kind,
            value,
            detail: detail.to_string(),
        });
    }

    pub(super) fn required(&mut self, field: impl Display, detail: impl Display) {
        self.push(field, ErrorKind::Required, String::new(), detail);
    }

    pub(super) fn invalid<V: Shown + ?Sized>(
        &mut self,
        field: impl Display,
        value: &V,
        detail: impl Display,
    ) {
        self.push(field, ErrorKind::Invalid, value.shown(), detail);
    }

    pub(super) fn forbidden(&mut self, field: impl Display, detail: impl Display) {
        self.push(field, ErrorKind::Forbidden, String::new(), detail);
    }

    pub(super) fn duplicate<V: Shown + ?Sized>(&mut self, field: impl Display, value: &V) {
        self.push(field, ErrorKind::Duplicate, value.shown(), "");
    }

    /// The value of an enumeration that has only these.
    pub(super) fn not_supported(&mut self, field: impl Display, value: &str, supported: &[&str]) {
        let names: Vec<_> = supported.iter().map(|name| name.shown()).collect();
        let detail = alloc::format!("supported values: {}", names.join(", "));
        self.push(field, ErrorKind::NotSupported, value.shown(), detail);
    }

    pub(super) fn internal(&mut self, field: impl Display, detail: impl Display) {
        self.push(field, ErrorKind::Internal, String::new(), detail);
    }

    /// One error for each message about a value.
    pub(super) fn each_invalid(
        &mut self,
        field: impl Display,
        value: &str,
        messages: impl IntoIterator<Item = String>,
    ) {
        let field = field.to_string();
        for message in messages {
            self.invalid(&field, value, message);
        }
    }

    /// Has something been found about this field, or about a part of it?
    pub(super) fn touch(&self, field: &str) -> bool {
        self.0.iter().any(|error| {
            error
                .field
                .strip_prefix(field)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    }
}
