//! Why a packet would go where it would go, as a struct.

use crate::address::portolan_address;
use crate::call::{self, control, enter};
use crate::connections::portolan_tuple;
use crate::dataplane::portolan_dataplane;
use crate::descriptor::PORTOLAN_FLAG_FROM_POD;
use crate::error::{Failure, portolan_error};
use crate::sized::{self, SizedStruct};
use crate::status::portolan_status;
use core::mem::MaybeUninit;
use core::net::SocketAddr;
use portolan::dataplane::{Explanation, MasqueradeCause};
use portolan::net::{Arrival, Direction, DropReason, Instant};

/// The packet has a tuple: protocol, tuple. (A bit of portolan_explanation.found.)
pub const PORTOLAN_FOUND_TUPLE: u8 = 1;
/// It belongs to a connection that is open: direction.
pub const PORTOLAN_FOUND_CONNECTION: u8 = 2;
/// It is for a frontend: frontend_kind, service.
pub const PORTOLAN_FOUND_FRONTEND: u8 = 4;
/// It was decided who sends it, and from which set: source, set, choice_count.
pub const PORTOLAN_FOUND_SOURCE: u8 = 8;
/// Session affinity remembers an endpoint for its sender.
pub const PORTOLAN_FOUND_AFFINITY: u8 = 16;
/// An endpoint was chosen, or is that of the connection: endpoint.
pub const PORTOLAN_FOUND_ENDPOINT: u8 = 32;
/// It would be translated: translated.
pub const PORTOLAN_FOUND_TRANSLATED: u8 = 64;

/// Its source is kept. (A number of portolan_explanation.masquerade.)
pub const PORTOLAN_MASQUERADE_NO: u8 = 0;
/// Its source is translated because the frontend's rule for its sender says so.
pub const PORTOLAN_MASQUERADE_RULE: u8 = 1;
/// Its source is translated because the endpoint would reach itself.
pub const PORTOLAN_MASQUERADE_HAIRPIN: u8 = 2;

/// An address and a port. This struct never grows.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_socket_address {
    /// The address.
    pub address: portolan_address,
    /// The port, in host order.
    pub port: u16,
    /// Zero.
    pub reserved: u16,
}

/// What would become of a packet, and what was found on the way. Fields whose bit in `found` is not set are zero.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_explanation {
    /// sizeof(portolan_explanation).
    pub struct_size: u32,
    /// PORTOLAN_VERDICT_...
    pub verdict: u8,
    /// PORTOLAN_DROP_..., 0 if it would not be dropped.
    pub reason: u8,
    /// Bits of PORTOLAN_FOUND_...
    pub found: u8,
    /// PORTOLAN_PROTOCOL_... of the tuple.
    pub protocol: u8,
    /// 0: it goes from the client to the endpoint; 1: back.
    pub direction: u8,
    /// PORTOLAN_FRONTEND_...
    pub frontend_kind: u8,
    /// PORTOLAN_SOURCE_...: who sends it.
    pub source: u8,
    /// PORTOLAN_SET_...: the endpoints that the frontend's rule lets this sender choose from.
    pub set: u8,
    /// PORTOLAN_MASQUERADE_...
    pub masquerade: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// The service's number in the dataplane, as in portolan_service_stats.id.
    pub service: u32,
    /// How many endpoints may be chosen.
    pub choice_count: u32,
    /// The generation of the services asked.
    pub generation: u64,
    /// Its tuple; of an ICMP error the quoted packet's.
    pub tuple: portolan_tuple,
    /// What the tuple would become. The source port of a masqueraded new connection is not known before.
    pub translated: portolan_tuple,
    /// The endpoint. Where the choice is random, one of those that may be chosen.
    pub endpoint: portolan_socket_address,
}

// SAFETY: repr(C), integers without padding (ffi/tests/c/layout.c holds it).
unsafe impl SizedStruct for portolan_explanation {
    const FIRST_SIZE: usize = size_of::<Self>();
}

impl From<SocketAddr> for portolan_socket_address {
    fn from(address: SocketAddr) -> Self {
        Self {
            address: address.ip().into(),
            port: address.port(),
            reserved: 0,
        }
    }
}

impl From<&Explanation> for portolan_explanation {
    fn from(explanation: &Explanation) -> Self {
        let found = [
            (explanation.tuple.is_some(), PORTOLAN_FOUND_TUPLE),
            (explanation.connection.is_some(), PORTOLAN_FOUND_CONNECTION),
            (explanation.frontend.is_some(), PORTOLAN_FOUND_FRONTEND),
            (explanation.class.is_some(), PORTOLAN_FOUND_SOURCE),
            (explanation.kept.is_some(), PORTOLAN_FOUND_AFFINITY),
            (explanation.endpoint.is_some(), PORTOLAN_FOUND_ENDPOINT),
            (explanation.translated.is_some(), PORTOLAN_FOUND_TRANSLATED),
        ];
        let found = found.into_iter().filter(|(is, _)| *is);
        let nowhere = portolan_tuple::NONE;
        Self {
            struct_size: 0,
            verdict: explanation.verdict as u8,
            reason: explanation
                .reason
                .map_or(0, |reason: DropReason| reason as u8),
            found: found.fold(0, |bits, (_, bit)| bits | bit),
            protocol: explanation.tuple.map_or(0, |tuple| tuple.protocol.number()),
            direction: match explanation.connection {
                Some(Direction::Reply) => 1,
                Some(Direction::Original) | None => 0,
            },
            frontend_kind: explanation.frontend.map_or(0, |kind| kind as u8),
            source: explanation.class.map_or(0, |class| class as u8),
            set: explanation.set.map_or(0, |set| set as u8),
            masquerade: match explanation.masquerade {
                None => PORTOLAN_MASQUERADE_NO,
                Some(MasqueradeCause::Hairpin) => PORTOLAN_MASQUERADE_HAIRPIN,
                Some(_) => PORTOLAN_MASQUERADE_RULE,
            },
            reserved: [0; 3],
            service: explanation.service.map_or(0, |service| service.0),
            choice_count: u32::try_from(explanation.choices.len()).unwrap_or(u32::MAX),
            generation: explanation.generation.0,
            tuple: explanation.tuple.map_or(nowhere, Into::into),
            translated: explanation.translated.map_or(nowhere, Into::into),
            endpoint: explanation.endpoint.map_or(
                portolan_socket_address {
                    address: portolan_address::NONE,
                    port: 0,
                    reserved: 0,
                },
                Into::into,
            ),
        }
    }
}

/// By what a packet enters of which the host says this.
pub(crate) fn arrival(flags: u16) -> Result<Arrival, Failure> {
    match flags {
        0 => Ok(Arrival::Elsewhere),
        PORTOLAN_FLAG_FROM_POD => Ok(Arrival::PodInterface),
        _ => Err(Failure::invalid(
            "flags",
            format!("{flags:#x} is neither 0 nor PORTOLAN_FLAG_FROM_POD"),
        )),
    }
}

/// Writes what would become of a packet and why, by the code that moves packets; changes nothing. `packet` begins
/// at the IP header; `flags` is what the host would set in its descriptor: PORTOLAN_FLAG_FROM_POD or 0. Set
/// `explanation->struct_size` first; it stays.
///
/// Writes to `choices` the endpoints that may be chosen, at most `choice_capacity` of them (NULL and 0: not
/// wanted); explanation.choice_count says how many there are. Since 0.1.
///
/// # Safety
/// `dataplane` is NULL or a handle that lives; `packet` is NULL or valid for reading `packet_size` bytes;
/// `explanation` is NULL or points to as many writable bytes as its `struct_size` says; `choices` is NULL or valid
/// for writing `choice_capacity` elements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_dataplane_explain(
    dataplane: *const portolan_dataplane,
    now_ns: u64,
    packet: *const u8,
    packet_size: usize,
    flags: u16,
    explanation: *mut portolan_explanation,
    choices: *mut portolan_socket_address,
    choice_capacity: usize,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    // SAFETY: as promised.
    let dataplane = unsafe { dataplane.as_ref() };
    control(error, || {
        if choices.is_null() && choice_capacity != 0 {
            return Err(Failure::null("choices"));
        }
        // SAFETY: as promised.
        let packet = unsafe { call::bytes(packet, packet_size, "packet") }?;
        let arrival = arrival(flags)?;
        let state = enter(dataplane.map(|handle| &handle.state), "dataplane")?;
        let now = Instant::from_nanos(now_ns);
        let found = state.dataplane.explain_from(now, packet, arrival);
        // SAFETY: as promised.
        unsafe { sized::write(explanation, &(&found).into(), "explanation") }?;
        for (index, choice) in found.choices.iter().take(choice_capacity).enumerate() {
            // SAFETY: less than `choice_capacity`.
            let place = unsafe { choices.add(index) };
            // SAFETY: writable, as promised; alignment is the caller's array's.
            unsafe { place.write_unaligned((*choice).into()) };
        }
        Ok(())
    })
}
