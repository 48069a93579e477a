//! What the dataplane does where kube-proxy and its users differ. The defaults are kube-proxy's.

use core::num::NonZeroU32;

/// Choices beyond the objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Whose endpoint stopped serving, was removed, or lost its Service.
    pub ended_tcp: EndedTcp,
    /// For a frontend, but of no connection and opening none.
    pub mid_stream: MidStream,
    /// Are ICMP echo requests to ClusterIPs, external IPs and load balancer addresses answered, as where IPVS binds
    /// them? kube-proxy's other modes leave them alone (kubernetes #47156).
    pub answer_echo: bool,
    /// How many connections each worker may open a second, so that a flood leaves time for what is open; what exceeds it
    /// is dropped ([`crate::net::DropReason::NewConnectionLimit`]). A second's worth may come at once. `None`: as many
    /// as come.
    pub new_connections_per_second: Option<NonZeroU32>,
}

/// What becomes of TCP connections whose endpoint ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum EndedTcp {
    /// They are translated on, until their peers end them: kube-proxy never cleans up TCP.
    #[default]
    Keep,
    /// The client's next segment is answered by a reset and the connection forgotten, so that clients of an endpoint
    /// that is gone need not wait for their own timeouts (kubernetes #100698, #104098).
    Reset,
}

/// What becomes of a TCP segment that belongs to no connection and is no SYN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum MidStream {
    /// It is dropped ([`crate::net::DropReason::NoConnection`]).
    #[default]
    Drop,
    /// It is answered by a reset (RFC 9293, 3.10.7.1).
    Reset,
    /// It opens a connection (`nf_conntrack_tcp_loose`) and goes where the scheduler says: to the endpoint that it was
    /// with before if the scheduler hashes, or if there is only one; else to one that resets it.
    PickUp,
}
