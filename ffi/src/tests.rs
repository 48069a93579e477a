//! What no C program can bring about on purpose: a handle whose call panicked, and one that a call is inside of.
#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "what is said of one handle is said of all"
)]

use crate::dataplane::{portolan_dataplane, portolan_dataplane_new, portolan_dataplane_poll};
use crate::dataplane::{portolan_dataplane_free, portolan_dataplane_publish};
use crate::descriptor::portolan_descriptor;
use crate::limits::{portolan_limits, portolan_limits_init};
use crate::node::{portolan_node, portolan_node_free, portolan_node_generation};
use crate::node::{portolan_node_new, portolan_node_synced};
use crate::status::portolan_status;
use crate::txn::{portolan_txn, portolan_txn_begin, portolan_txn_commit, portolan_txn_free};
use crate::worker::{
    portolan_worker, portolan_worker_free, portolan_worker_new, portolan_worker_process,
};
use core::mem::MaybeUninit;
use core::panic::AssertUnwindSafe;
use core::ptr;
use std::panic::catch_unwind;
use std::sync::Mutex;

/// One handle of each kind.
struct Handles {
    node: *mut portolan_node,
    dataplane: *mut portolan_dataplane,
    worker: *mut portolan_worker,
    txn: *mut portolan_txn,
}

/// What a call that makes a handle writes.
fn made<H>(make: impl FnOnce(Option<&mut MaybeUninit<*mut H>>) -> portolan_status) -> *mut H {
    let mut out = MaybeUninit::new(ptr::null_mut());
    assert_eq!(make(Some(&mut out)), portolan_status::Ok);
    // SAFETY: initialised above.
    unsafe { out.assume_init() }
}

impl Handles {
    fn new() -> Self {
        let config = b"{nodeName: n1}";
        let mut limits = MaybeUninit::<portolan_limits>::zeroed();
        // SAFETY: room for a struct of that size.
        let status = unsafe {
            portolan_limits_init(limits.as_mut_ptr(), size_of::<portolan_limits>() as u32)
        };
        assert_eq!(status, portolan_status::Ok);
        // SAFETY: initialised above.
        let mut limits = unsafe { limits.assume_init() };
        (limits.connections_ipv4, limits.connections_ipv6) = (64, 64);
        // SAFETY: all of these get what they ask for.
        let node = made(|out| unsafe {
            portolan_node_new(config.as_ptr().cast(), config.len(), out, None)
        });
        // SAFETY: likewise.
        let dataplane =
            made(|out| unsafe { portolan_dataplane_new(&limits, [0_u8; 16].as_ptr(), out, None) });
        // SAFETY: likewise.
        let worker = made(|out| unsafe { portolan_worker_new(dataplane, out, None) });
        Self {
            node,
            dataplane,
            worker,
            txn: made(|out| portolan_txn_begin(out)),
        }
    }

    /// Calls something on each handle; all of it says `expected`.
    fn expect(&mut self, expected: portolan_status) {
        let mut packet = MaybeUninit::<portolan_descriptor>::zeroed();
        let stride = size_of::<portolan_descriptor>() as u32;
        let mut number = MaybeUninit::uninit();
        // SAFETY: the handles live, here and below.
        let said = unsafe {
            [
                portolan_node_synced(self.node, 1, None),
                portolan_node_generation(self.node, Some(&mut number)),
                portolan_dataplane_poll(self.dataplane, 0, None),
                portolan_dataplane_publish(self.dataplane, ptr::null_mut(), None, None, None),
                portolan_txn_commit(Some(&mut self.txn), self.node, None, None, None),
                portolan_worker_process(
                    self.worker,
                    0,
                    ptr::null_mut(),
                    0,
                    packet.as_mut_ptr(),
                    stride,
                    1,
                ),
            ]
        };
        assert_eq!(said, [expected; 6]);
        assert!(!self.txn.is_null(), "it is still the caller's");
    }

    fn free(&mut self) -> [portolan_status; 4] {
        // SAFETY: the handles live, or are NULL.
        unsafe {
            [
                portolan_worker_free(Some(&mut self.worker)),
                portolan_dataplane_free(Some(&mut self.dataplane)),
                portolan_node_free(Some(&mut self.node)),
                portolan_txn_free(Some(&mut self.txn)),
            ]
        }
    }
}

fn poison<T>(mutex: &Mutex<T>) {
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _inside = mutex.lock();
        panic!("on purpose");
    }));
    assert!(panicked.is_err() && mutex.is_poisoned());
}

#[test]
fn a_handle_whose_call_panicked_says_so_and_can_be_freed() {
    let mut handles = Handles::new();
    // SAFETY: the handles live.
    unsafe {
        poison(&(*handles.node).state);
        poison(&(*handles.dataplane).state);
        poison(&(*handles.worker).worker);
        poison(&(*handles.txn).state);
    }
    handles.expect(portolan_status::Poisoned);
    assert_eq!(handles.free(), [portolan_status::Ok; 4]);
}

#[test]
fn a_second_thread_on_a_handle_is_told_that_it_is_busy_and_frees_nothing() {
    let mut handles = Handles::new();
    // SAFETY: the handles live until they are freed below.
    let (node, dataplane, worker, txn) = unsafe {
        (
            &*handles.node,
            &*handles.dataplane,
            &*handles.worker,
            &*handles.txn,
        )
    };
    let inside = (
        node.state.lock(),
        dataplane.state.lock(),
        worker.worker.lock(),
        txn.state.lock(),
    );
    handles.expect(portolan_status::Busy);
    assert_eq!(handles.free(), [portolan_status::Busy; 4]);
    drop(inside);
    assert_eq!(handles.free(), [portolan_status::Ok; 4]);
    assert_eq!(
        handles.free(),
        [portolan_status::Ok; 4],
        "they are NULL now"
    );
}
