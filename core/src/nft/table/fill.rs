//! Filling empty tables that are asleep: one thread renders and encodes while another one waits for the kernel.

use super::Table;
use crate::nft::TableError;
use crate::nft::netlink::{Batch, Outcome, Socket, SocketError};
use crate::nft::renderer::Step;
use crate::plan::Changes;
use alloc::vec::Vec;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

/// So many changes are rendered at a time: a few transactions, whose memory is used again for the next.
const PART: usize = 1_000;
/// So many transactions may wait for the kernel.
const WAITING: usize = 64;

/// The first transaction that is not certainly in force, and what became of it.
type Stopped = (Step, Result<Outcome, SocketError>);

impl Table {
    /// Brings empty tables to the plan, a part at a time. Its transactions may come in any order, because no packet
    /// passes through.
    pub(super) fn fill(&mut self, changes: Changes) -> Result<(), TableError> {
        let chains = self.renderer.chains_for(&changes);
        self.add_chains(&chains)?;
        self.seen = changes.to;
        // A second thread is worth it where there is something to do while the kernel works, and a processor to do it.
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let long = changes.changes.len() > PART && processors > 1;
        let Some(mut socket) = self.socket.take_if(|_| long) else {
            for part in parts(changes) {
                let update = self.renderer.update(&part);
                self.stale.follow(&part);
                self.carry_out(&update.now)?;
            }
            return Ok(());
        };
        let (committed, stopped) = thread::scope(|scope| {
            let (sender, receiver) = sync_channel(WAITING);
            let committing = &mut socket;
            let kernel = scope.spawn(move || commit_all(committing, receiver));
            for part in parts(changes) {
                let update = self.renderer.update(&part);
                self.stale.follow(&part);
                for step in update.now {
                    let table = &self.renderer.options().table;
                    if let Some(batch) = Batch::new(&step.transaction, table, None) {
                        // Whoever takes no more has stopped; it is repaired by reading what there is.
                        let _ = sender.send((step, batch));
                    }
                }
            }
            drop(sender);
            kernel
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        self.socket = Some(socket);
        for operations in committed {
            self.note(operations);
        }
        match stopped {
            None => Ok(()),
            Some((step, outcome)) => {
                let outcome = outcome.map_err(TableError::Socket)?;
                self.doubtful |= !self.judge(&step, outcome)?;
                Ok(())
            }
        }
    }
}

/// Commits one after the other until one is refused: the numbers of operations, and the one that was refused.
fn commit_all(
    socket: &mut Socket,
    batches: Receiver<(Step, Batch)>,
) -> (Vec<usize>, Option<Stopped>) {
    let mut committed = Vec::new();
    for (step, batch) in batches {
        match socket.commit(&batch) {
            Ok(Outcome::Committed) => committed.push(step.transaction.operations.len()),
            other => return (committed, Some((step, other))),
        }
        // As in `carry_out`.
        thread::yield_now();
    }
    (committed, None)
}

/// Cuts changes into parts, which do the same one after the other.
fn parts(changes: Changes) -> impl Iterator<Item = Changes> {
    let Changes {
        to,
        mut full,
        changes,
    } = changes;
    let mut rest = changes.into_iter();
    core::iter::from_fn(move || {
        let part: Vec<_> = rest.by_ref().take(PART).collect();
        let changes = Changes {
            to,
            full: core::mem::take(&mut full),
            changes: part,
        };
        (changes.full || !changes.changes.is_empty()).then_some(changes)
    })
}
