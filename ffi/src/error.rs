//! Why a call failed, in words: object, field and rule.

use crate::status::portolan_status;
use core::ffi::c_char;
use core::mem::MaybeUninit;
use portolan::model::Rejection;
use std::ffi::CString;

/// Why a call failed. Made by the failing call, owned by the caller, freed with portolan_error_free().
/// It refers to nothing else and may be read by any thread.
#[derive(Debug)]
pub struct portolan_error {
    status: portolan_status,
    object: CString,
    field: CString,
    message: CString,
}

/// Why a call failed, on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: portolan_status,
    object: String,
    field: String,
    message: String,
}

impl Failure {
    pub(crate) fn new(status: portolan_status, field: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            object: String::new(),
            field: field.to_owned(),
            message: message.into(),
        }
    }

    /// A required pointer is NULL.
    pub(crate) fn null(argument: &str) -> Self {
        Self::new(portolan_status::Null, argument, "is NULL")
    }

    pub(crate) fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::new(portolan_status::Invalid, field, message)
    }

    /// Of several things wrong with one description, the first, and how many more there are.
    pub(crate) fn of_rejections(rejections: &[Rejection]) -> Self {
        let Some(first) = rejections.first() else {
            return Self::invalid("", "is not a description");
        };
        let more = rejections.len().saturating_sub(1);
        let rule = &first.rule;
        Self {
            status: portolan_status::Invalid,
            object: first.object.clone(),
            field: first.field.clone(),
            message: if more == 0 {
                rule.clone()
            } else {
                format!("{rule} (and {more} more)")
            },
        }
    }

    /// Gives the words to the caller, if it wants them.
    pub(crate) fn give(
        self,
        error: Option<&mut MaybeUninit<*mut portolan_error>>,
    ) -> portolan_status {
        let status = self.status;
        if let Some(error) = error {
            let words = Box::new(portolan_error {
                status,
                object: c_string(&self.object),
                field: c_string(&self.field),
                message: c_string(&self.message),
            });
            error.write(Box::into_raw(words));
        }
        status
    }
}

/// A C string; a NUL inside is shown as U+FFFD.
pub(crate) fn c_string(text: &str) -> CString {
    CString::new(text)
        .unwrap_or_else(|_| CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default())
}

/// The status of the call that failed; PORTOLAN_STATUS_NULL of NULL. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn portolan_error_status(error: Option<&portolan_error>) -> portolan_status {
    error.map_or(portolan_status::Null, |error| error.status)
}

/// What the error is about: a file, an object such as "Service default/web", or "" if it is about an
/// argument. Never NULL; lives as long as the error. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn portolan_error_object(error: Option<&portolan_error>) -> *const c_char {
    error.map_or(c"".as_ptr(), |error| error.object.as_ptr())
}

/// The field or argument that is wrong, as in "spec.ports[0].port"; "" if the whole object is. Never NULL;
/// lives as long as the error. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn portolan_error_field(error: Option<&portolan_error>) -> *const c_char {
    error.map_or(c"".as_ptr(), |error| error.field.as_ptr())
}

/// The rule that was broken, with the value. Never NULL; lives as long as the error. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn portolan_error_message(error: Option<&portolan_error>) -> *const c_char {
    error.map_or(c"".as_ptr(), |error| error.message.as_ptr())
}

/// Frees an error and sets the pointer to NULL. NULL, and a pointer to NULL, have no effect. Since 0.1.
///
/// # Safety
/// `*error` is NULL or came from this library and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_error_free(error: Option<&mut *mut portolan_error>) {
    // SAFETY: the caller's promise, above.
    drop(unsafe { crate::call::take_box(error) });
}
