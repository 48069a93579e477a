//! What cannot be served as written: data, not errors.

use crate::call::control;
use crate::error::{Failure, c_string};
use crate::sized::{self, SizedStruct};
use crate::status::portolan_status;
use core::ffi::c_char;
use core::mem::MaybeUninit;
use portolan::model::Rejection;
use std::ffi::CString;

/// A list of rejections, owned by the caller. Read by one or many threads; it refers to nothing else.
#[derive(Debug)]
pub struct portolan_rejections {
    list: Vec<[CString; 3]>,
}

/// One thing that cannot be served as written. Everything else is served. The strings are owned by the list.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_rejection {
    /// sizeof(portolan_rejection).
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// Which object: "Service default/web", or where in the input it stood if it has no name.
    pub object: *const c_char,
    /// Path of the field: "spec.ports[0].nodePort". "" if the whole object is meant.
    pub field: *const c_char,
    /// The rule broken, with the value: "70000 is not a port: must be between 1 and 65535".
    pub rule: *const c_char,
}

// SAFETY: repr(C), two u32 and three pointers.
unsafe impl SizedStruct for portolan_rejection {
    const FIRST_SIZE: usize = size_of::<Self>();
}

impl portolan_rejections {
    fn new<'list>(rejections: impl IntoIterator<Item = &'list Rejection>) -> Self {
        let texts = |rejection: &Rejection| {
            let Rejection {
                object,
                field,
                rule,
            } = rejection;
            [c_string(object), c_string(field), c_string(rule)]
        };
        Self {
            list: rejections.into_iter().map(texts).collect(),
        }
    }

    /// Gives a list to the caller, if it wants one.
    pub(crate) fn give<'list>(
        rejections: impl IntoIterator<Item = &'list Rejection>,
        out: Option<&mut MaybeUninit<*mut Self>>,
    ) {
        if let Some(out) = out {
            out.write(Box::into_raw(Box::new(Self::new(rejections))));
        }
    }
}

/// How many there are; 0 of NULL. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn portolan_rejections_count(rejections: Option<&portolan_rejections>) -> usize {
    rejections.map_or(0, |rejections| rejections.list.len())
}

/// Writes rejection number `index`, counted from 0. PORTOLAN_STATUS_END if there is none. Since 0.1.
///
/// # Safety
/// `rejection` is NULL or points to as many writable bytes as its `struct_size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_rejections_at(
    rejections: Option<&portolan_rejections>,
    index: usize,
    rejection: *mut portolan_rejection,
) -> portolan_status {
    control(None, || {
        let rejections = rejections.ok_or_else(|| Failure::null("rejections"))?;
        let Some([object, field, rule]) = rejections.list.get(index) else {
            return Err(Failure::new(
                portolan_status::End,
                "index",
                "is beyond the last",
            ));
        };
        let value = portolan_rejection {
            struct_size: 0,
            reserved: 0,
            object: object.as_ptr(),
            field: field.as_ptr(),
            rule: rule.as_ptr(),
        };
        // SAFETY: as promised.
        unsafe { sized::write(rejection, &value, "rejection") }
    })
}

/// Frees a list and sets the pointer to NULL. NULL, and a pointer to NULL, have no effect. Since 0.1.
///
/// # Safety
/// `*rejections` is NULL or came from this library and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_rejections_free(
    rejections: Option<&mut *mut portolan_rejections>,
) {
    // SAFETY: as promised.
    drop(unsafe { crate::call::take_box(rejections) });
}
