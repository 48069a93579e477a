//! Hashing into fixed memory: a keyed hash, cache-line buckets, prefetch.

pub mod hash;
mod index;
mod prefetch;
mod store;
mod tags;

pub use hash::HashKey;
pub use index::{Entry, Home, Index, InsertError, Sameness};
pub use prefetch::{Cache, prefetch, prefetch_whole};
pub use store::{Dated, Found, Store};
