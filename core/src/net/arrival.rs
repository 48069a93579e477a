//! By what a packet entered its host.

/// By what a packet entered, as far as its host says. Asked only of a node that tells pods by their interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Arrival {
    /// By an interface that is no pod's, or by one that nobody named.
    #[default]
    Elsewhere,
    /// By a pod's interface.
    PodInterface,
}
