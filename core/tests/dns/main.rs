//! DNS as its clients meet it: no allocation, no packet that breaks it, replies that another library can read, and
//! the same answers whatever came before.

#[path = "../common/allocations.rs"]
mod allocations;
mod history;
mod hostile;
mod no_alloc;
mod world;
