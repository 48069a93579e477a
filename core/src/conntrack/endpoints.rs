//! What connections must know of their endpoints, whose services may be long gone.
//!
//! One cache line holds four endpoints. Ending an endpoint is one write, whatever the number of its
//! connections: each of them compares the generation that it remembers.

use crate::net::EndpointId;
use crate::sync::{Loads, Word};
use alloc::boxed::Box;
use alloc::sync::Arc;

#[derive(Debug)]
#[repr(C, align(16))]
struct Endpoint {
    generation: Word,
    tag: Word,
}

/// Generation and tag of every endpoint id.
#[derive(Debug)]
pub struct Endpoints {
    endpoints: Box<[Endpoint]>,
    loads: Arc<Loads>,
}

/// What a connection finds of its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointLife {
    /// It is still served; this is the host's tag for it.
    Serving(u64),
    /// It stopped serving, was removed, or its Service was.
    Ended,
}

impl Endpoints {
    /// Room for `capacity` endpoints, whose connections `loads` counts.
    #[must_use]
    pub fn new(capacity: u32, loads: Arc<Loads>) -> Self {
        let endpoint = |_| Endpoint {
            generation: Word::new(0),
            tag: Word::new(0),
        };
        Self {
            endpoints: (0..capacity).map(endpoint).collect(),
            loads,
        }
    }

    /// Bytes that [`Endpoints::new`] allocates.
    #[must_use]
    pub const fn memory_bytes(capacity: u32) -> usize {
        (capacity as usize).saturating_mul(size_of::<Endpoint>())
    }

    /// Gives an endpoint its tag.
    pub fn set_tag(&self, id: EndpointId, tag: u64) {
        if let Some(endpoint) = self.endpoints.get(id.0 as usize) {
            endpoint.tag.write(tag);
        }
    }

    /// Ends an endpoint: from now on no connection that remembers it finds it.
    pub fn end(&self, id: EndpointId) {
        if let Some(endpoint) = self.endpoints.get(id.0 as usize) {
            // Only the publishing thread writes generations.
            let generation = endpoint.generation.read().wrapping_add(1);
            // Before anyone can know of the generation: its connections count from zero.
            self.loads.begin(id, kept(generation));
            endpoint.generation.write_release(generation);
        }
    }

    /// The generation to remember of an endpoint that was just chosen.
    #[inline]
    #[must_use]
    pub fn generation(&self, id: EndpointId) -> u16 {
        self.endpoints
            .get(id.0 as usize)
            .map_or(0, |endpoint| kept(endpoint.generation.read_acquire()))
    }

    /// What has become of the endpoint that was chosen at `generation`.
    #[inline]
    #[must_use]
    pub fn life(&self, id: EndpointId, generation: u16) -> EndpointLife {
        match self.endpoints.get(id.0 as usize) {
            Some(endpoint) if kept(endpoint.generation.read()) == generation => {
                EndpointLife::Serving(endpoint.tag.read())
            }
            Some(_) | None => EndpointLife::Ended,
        }
    }
}

/// The sixteen bits of a generation that a connection keeps.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "as documented")]
const fn kept(generation: u64) -> u16 {
    generation as u16
}
