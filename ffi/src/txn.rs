//! Several changes to a node that become one generation.

use crate::call::{self, ErrorOut, control, enter, output};
use crate::error::{Failure, portolan_error};
use crate::node::{kind_of, portolan_node};
use crate::object::{portolan_service_object, portolan_slice_object};
use crate::rejections::portolan_rejections;
use crate::sized;
use crate::status::portolan_status;
use core::ffi::c_char;
use core::mem::MaybeUninit;
use portolan::k8s;
use portolan::model::{Object, ObjectKey, ObjectRef, Rejection};
use portolan::node::Batch;
use std::sync::Mutex;

/// Changes that a node is to make together. Knows of no node until it is committed; used by one thread at a time.
#[derive(Debug)]
pub struct portolan_txn {
    pub(crate) state: Mutex<TxnState>,
}

#[derive(Debug, Default)]
pub(crate) struct TxnState {
    batch: Batch,
    /// What could not be read of text.
    rejections: Vec<Rejection>,
}

/// Begins a transaction. Owned by the caller, ended by portolan_txn_commit() or portolan_txn_free(). Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn portolan_txn_begin(
    txn: Option<&mut MaybeUninit<*mut portolan_txn>>,
) -> portolan_status {
    control(None, || {
        let out = output(txn, "txn")?;
        out.write(Box::into_raw(Box::new(portolan_txn {
            state: Mutex::default(),
        })));
        Ok(())
    })
}

/// Adds something to a transaction.
fn inside(
    txn: Option<&portolan_txn>,
    error: ErrorOut<'_>,
    body: impl FnOnce(&mut TxnState) -> Result<(), Failure>,
) -> portolan_status {
    control(error, || {
        let mut state = enter(txn.map(|handle| &handle.state), "txn")?;
        body(&mut state)
    })
}

/// Adds: this Service is new or different. What the struct points to is copied. A value that is not allowed gives
/// PORTOLAN_STATUS_INVALID and adds nothing. Since 0.1.
///
/// # Safety
/// `txn` is NULL or a handle that lives; `service` is NULL or valid, and what it points to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_txn_put_service(
    txn: *mut portolan_txn,
    service: *const portolan_service_object,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    // SAFETY: as promised.
    let txn = unsafe { txn.as_ref() };
    inside(txn, error, |state| {
        // SAFETY: as promised.
        let service = unsafe { sized::read(service, "service") }?;
        // SAFETY: as promised of what it points to.
        state
            .batch
            .put(Object::Service(unsafe { service.to_model() }?));
        Ok(())
    })
}

/// Adds: this EndpointSlice is new or different. Otherwise as portolan_txn_put_service(). Since 0.1.
///
/// # Safety
/// `txn` is NULL or a handle that lives; `slice` is NULL or valid, and what it points to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_txn_put_slice(
    txn: *mut portolan_txn,
    slice: *const portolan_slice_object,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    // SAFETY: as promised.
    let txn = unsafe { txn.as_ref() };
    inside(txn, error, |state| {
        // SAFETY: as promised.
        let slice = unsafe { sized::read(slice, "slice") }?;
        // SAFETY: as promised of what it points to.
        let slice = unsafe { slice.to_model() }?;
        state.batch.put(Object::EndpointSlice(slice));
        Ok(())
    })
}

/// Adds: these objects are new or different; JSON or YAML, as portolan_node_apply(). What cannot be read is in the
/// list that portolan_txn_commit() gives. Since 0.1.
///
/// # Safety
/// `txn` is NULL or a handle that lives; `objects` is NULL or valid for reading `objects_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_txn_apply(
    txn: *mut portolan_txn,
    objects: *const c_char,
    objects_size: usize,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    // SAFETY: as promised.
    let txn = unsafe { txn.as_ref() };
    inside(txn, error, |state| {
        // SAFETY: as promised.
        let objects = unsafe { call::bytes(objects.cast(), objects_size, "objects") }?;
        let decoded = k8s::decode(objects, "objects");
        for object in decoded.objects {
            state.batch.put(object);
        }
        state.rejections.extend(decoded.rejections);
        Ok(())
    })
}

/// Adds: this object is gone, by PORTOLAN_KIND_..., namespace ("" for a Node) and name. Of several changes to one
/// object in a transaction the last counts. Since 0.1.
///
/// # Safety
/// `txn` is NULL or a handle that lives; `name_space` and `name` are NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_txn_delete(
    txn: *mut portolan_txn,
    kind: u32,
    name_space: *const c_char,
    name: *const c_char,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    // SAFETY: as promised.
    let txn = unsafe { txn.as_ref() };
    inside(txn, error, |state| {
        let kind = kind_of(kind)?;
        // SAFETY: as promised.
        let name_space = unsafe { call::text(name_space, "name_space") }?;
        // SAFETY: as promised.
        let name = unsafe { call::text(name, "name") }?;
        let key = ObjectKey::new(name_space, name);
        state.batch.delete(ObjectRef { kind, key });
        Ok(())
    })
}

/// Adds: what this transaction puts of a kind, before or after this call, is all there is of it: others are
/// forgotten, and the kind is synced. A new configuration takes the place of the old one so, whole. Since 0.1.
///
/// # Safety
/// `txn` is NULL or a handle that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_txn_replace(
    txn: *mut portolan_txn,
    kind: u32,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    // SAFETY: as promised.
    let txn = unsafe { txn.as_ref() };
    inside(txn, error, |state| {
        let kind = kind_of(kind)?;
        state.batch.replace(kind);
        Ok(())
    })
}

/// Makes all changes of a transaction in the node, as one generation, frees the transaction and sets the pointer to
/// NULL. Writes the node's generation (NULL: not wanted) and what cannot be served as written (NULL: not wanted;
/// else a list to be freed with portolan_rejections_free()), which costs no other object anything. Any status but
/// PORTOLAN_STATUS_OK leaves the transaction and the node as they are. Since 0.1.
///
/// # Safety
/// `*txn` is NULL or a handle that lives; `node` is NULL or a handle that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_txn_commit(
    txn: Option<&mut *mut portolan_txn>,
    node: *mut portolan_node,
    generation: Option<&mut MaybeUninit<u64>>,
    rejections: Option<&mut MaybeUninit<*mut portolan_rejections>>,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    // SAFETY: as promised.
    let node = unsafe { node.as_ref() };
    control(error, || {
        let pointer = txn.ok_or_else(|| Failure::null("txn"))?;
        // SAFETY: as promised.
        let held = unsafe { pointer.as_ref() };
        let mut held = enter(held.map(|handle| &handle.state), "txn")?;
        let mut node = enter(node.map(|handle| &handle.state), "node")?;
        let TxnState {
            batch,
            rejections: mut rejected,
        } = core::mem::take(&mut *held);
        drop(held);
        // SAFETY: as promised; nobody is inside.
        drop(unsafe { call::take_box(Some(pointer)) });
        rejected.extend(node.node.commit(batch));
        if let Some(generation) = generation {
            generation.write(node.node.generation().0);
        }
        portolan_rejections::give(&rejected, rejections);
        Ok(())
    })
}

/// Gives a transaction up: nothing of it is done. Sets the pointer to NULL; NULL, and a pointer to NULL, have no
/// effect. PORTOLAN_STATUS_BUSY while another thread is inside a call: nothing is freed then. Since 0.1.
///
/// # Safety
/// `*txn` is NULL or a handle that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_txn_free(txn: Option<&mut *mut portolan_txn>) -> portolan_status {
    // SAFETY: as promised.
    unsafe { call::free(txn, |handle| call::is_busy(&handle.state)) }
}
