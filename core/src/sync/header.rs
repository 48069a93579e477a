//! The first word of a versioned record: its version, its life and its deadline, changed only together.
//!
//! A record is a header and payload words. Whoever owns a record (took its index from a free list) raises the
//! version *before* writing payload, so a reader that finds the same version before and after reading has
//! read one incarnation's payload. The rules, and what each excludes:
//!
//! - owner: [`Header::claim`] (new version, `Opening`), release fence, payload, then the slot that points here;
//! - reader: [`Header::load`], payload (relaxed), [`Header::confirm`]; a torn or reused payload does not confirm;
//! - life moves only by compare-and-swap of the whole word, so nobody refreshes or revives another incarnation.
//!
//! The version has 24 bits: a stalled thread is fooled only if its record was reused exactly 2^24 times *and*
//! ended up with the same life and the same deadline to the sixteenth of a second.

use super::{Word, fence_acquire, fence_release};

/// What may be done with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// In nobody's sight; its payload means nothing.
    Free,
    /// Being opened by one thread. Its payload is complete as soon as an index slot points at it.
    Opening,
    /// In use, in one of 64 states that the owner of the table gives a meaning to.
    Live(u8),
}

/// A header's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header(u64);

const VERSION_SHIFT: u32 = 40;
const LIFE_SHIFT: u32 = 32;
const LIFE_OPENING: u8 = 1;
const LIFE_LIVE: u8 = 0x40;
const STATE_MASK: u8 = 0x3f;

impl Life {
    #[inline(always)]
    const fn bits(self) -> u8 {
        match self {
            Self::Free => 0,
            Self::Opening => LIFE_OPENING,
            Self::Live(state) => LIFE_LIVE | (state & STATE_MASK),
        }
    }
}

impl Header {
    fn new(version: u64, life: Life, deadline: u32) -> Self {
        let life = u64::from(life.bits()) << LIFE_SHIFT;
        Self((version << VERSION_SHIFT) | life | u64::from(deadline))
    }

    /// Reads a record's header before its payload.
    #[inline]
    #[must_use]
    pub fn load(word: &Word) -> Self {
        // Acquire: pairs with the release in `advance`, so that a live record's payload is visible.
        Self(word.read_acquire())
    }

    /// Is the payload that was read since [`Header::load`] this incarnation's?
    #[inline]
    #[must_use]
    pub fn confirm(self, word: &Word) -> bool {
        // The fence pairs with the one in `claim`: payload of a later incarnation implies its version.
        fence_acquire();
        let after = Self(word.read());
        after.version() == self.version() && after.life() != Life::Free
    }

    /// As [`Header::confirm`], but also false if only the deadline or the state moved.
    #[inline]
    #[must_use]
    pub fn unchanged(self, word: &Word) -> bool {
        // As in `confirm`.
        fence_acquire();
        word.read() == self.0
    }

    /// Makes a free record this thread's, under a new version. Only for the owner of its index.
    #[must_use]
    pub fn claim(word: &Word, deadline: u32) -> Self {
        let claimed = Self::new(
            Self(word.read()).version().wrapping_add(1),
            Life::Opening,
            deadline,
        );
        word.write(claimed.0);
        fence_release();
        claimed
    }

    /// Changes life and deadline if nobody has changed the header since; releases the payload.
    ///
    /// # Errors
    /// The header found instead.
    #[inline]
    pub fn advance(self, word: &Word, life: Life, deadline: u32) -> Result<Self, Self> {
        let next = Self::new(self.version(), life, deadline);
        match word.swap_if(self.0, next.0) {
            Ok(()) => Ok(next),
            Err(found) => Err(Self(found)),
        }
    }

    /// Which incarnation of the record.
    #[inline]
    #[must_use]
    pub const fn version(self) -> u64 {
        self.0 >> VERSION_SHIFT
    }

    /// What may be done with it.
    #[inline]
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the life is eight bits of the word"
    )]
    pub const fn life(self) -> Life {
        let life = (self.0 >> LIFE_SHIFT) as u8;
        if life & LIFE_LIVE != 0 {
            Life::Live(life & STATE_MASK)
        } else if life == 0 {
            Life::Free
        } else {
            Life::Opening
        }
    }

    /// Is it live in this state, and are these the lower fifteen bits of its version?
    #[inline(always)]
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the lower bits of each are compared"
    )]
    pub const fn is_live(self, version: u64, state: u8) -> bool {
        const VERSION_AND_LIFE: u32 = 0x7f_ffff;
        let life = Life::Live(state).bits() as u32;
        let wanted = ((version as u32) << (VERSION_SHIFT - LIFE_SHIFT)) | life;
        (self.0 >> LIFE_SHIFT) as u32 & VERSION_AND_LIFE == wanted
    }

    /// When it expires, in ticks that the owner of the table gives a meaning to.
    #[inline]
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the low half is the deadline"
    )]
    pub const fn deadline(self) -> u32 {
        self.0 as u32
    }
}
