//! What becomes of a packet, before its descriptor says so.

use super::{Descriptor, Offload};
use crate::net::{DropReason, Verdict};

/// What became of a packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    pub(super) reason: Option<DropReason>,
    pub(super) flags: u16,
    pub(super) tag: u64,
    /// The new length of a packet that was replaced by an answer.
    pub(super) replied: Option<u32>,
}

impl Outcome {
    pub(super) const PASS: Self = Self {
        verdict: Verdict::Pass,
        reason: None,
        flags: 0,
        tag: 0,
        replied: None,
    };

    pub(super) const fn dropped(reason: DropReason) -> Self {
        Self {
            verdict: Verdict::Drop,
            reason: Some(reason),
            flags: 0,
            tag: 0,
            replied: None,
        }
    }

    pub(super) const fn replied(len: u32) -> Self {
        Self {
            verdict: Verdict::Reply,
            reason: None,
            flags: 0,
            tag: 0,
            replied: Some(len),
        }
    }

    pub(super) const fn forward(flags: u16, tag: u64) -> Self {
        Self {
            verdict: Verdict::Forward,
            reason: None,
            flags,
            tag,
            replied: None,
        }
    }
}

impl Descriptor {
    /// Writes what became of the packet.
    #[inline]
    pub(super) fn settle(&mut self, outcome: &Outcome) {
        self.verdict = outcome.verdict as u8;
        self.reason = outcome.reason.map_or(0, |reason| reason as u8);
        self.flags = outcome.flags;
        self.endpoint_tag = outcome.tag;
        if let Some(len) = outcome.replied {
            self.len = len;
            // The answer is complete as it stands.
            self.offload = Offload::default();
        }
    }
}
