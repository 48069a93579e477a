//! Every lock-free primitive. No other module names an atomic type or an ordering.
//!
//! | primitive | promise |
//! |---|---|
//! | [`Word`] | 64 bits that threads share; the orderings that the primitives above it need, by name |
//! | [`Published`] | two replicas, one writer: readers are wait-free and see one generation per pin |
//! | [`Header`] | the first word of a versioned record: who may read the rest of it, and until when |
//! | [`FreeList`], [`FreeStack`] | indexes that nobody uses |
//! | [`Lines`] | fixed arrays of cache lines, on huge pages where the host may |
//! | [`Loads`] | connections of each endpoint, exact whoever opens and ends them |
//! | [`Counters`] | counts that one thread writes and any thread reads |

mod counters;
mod free_list;
mod header;
mod lines;
mod loads;
mod published;
mod word;

pub use counters::{CounterSlot, Counters};
pub use free_list::{FreeList, FreeStack};
pub use header::{Header, Life};
pub use lines::{Advice, Lines};
pub use loads::{Load, Loads};
pub use published::{Pin, Published, Reader, ReadersBehind, Refused, Replica};
pub use word::{Word, fence_acquire, fence_release, fence_swapped};
