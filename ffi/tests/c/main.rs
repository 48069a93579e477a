//! What C programs meet: the header, programs against the static library, the shared library's surface, and whole
//! appliances that move a kernel's packets.
#![allow(
    unsafe_code,
    reason = "a network namespace for each appliance: unshare, which std does not offer"
)]

mod appliances;
mod build;
mod namespace;
mod programs;
mod surface;
