//! Which ServicePort's tickets have which number.

use super::Ticket;
use super::condemned::Sequence;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Gives numbers, and takes them back when nothing in the kernel names them any more.
#[derive(Debug)]
pub(super) struct Numbers {
    next: u32,
    /// Given up; elements that name them may still be there.
    resting: VecDeque<(Sequence, u32)>,
    free: Vec<u32>,
}

impl Default for Numbers {
    /// 0 is not given: a ticket of zeros could be taken for none.
    fn default() -> Self {
        Self {
            next: 1,
            resting: VecDeque::new(),
            free: Vec::new(),
        }
    }
}

impl Numbers {
    /// A number that nobody has; `None` if there is none.
    pub(super) fn take(&mut self) -> Option<u32> {
        self.free.pop().or_else(|| {
            let number = self.next;
            (number < Ticket::NUMBERS).then(|| {
                self.next += 1;
                number
            })
        })
    }

    /// Gives a number up; it rests until what was condemned up to `sequence` is deleted.
    pub(super) fn rest(&mut self, sequence: Sequence, number: u32) {
        self.resting.push_back((sequence, number));
    }

    /// Everything condemned up to `sequence` is deleted.
    pub(super) fn release(&mut self, sequence: Sequence) {
        while let Some((until, number)) = self.resting.front()
            && *until <= sequence
        {
            self.free.push(*number);
            self.resting.pop_front();
        }
    }

    /// These are taken: sorted, each once.
    pub(super) fn restore(&mut self, taken: &[u32]) {
        self.next = taken.last().map_or(1, |last| last + 1);
        let free = (1..self.next).filter(|number| taken.binary_search(number).is_err());
        self.free = free.collect();
        self.resting.clear();
    }
}
