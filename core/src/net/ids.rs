//! Numbers that name things across layers. An id is an index into a table of fixed capacity.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A ServicePort: one (namespace, name, port name, protocol), the unit of selection and affinity.
    ServiceId(u32)
}
id! {
    /// An endpoint of one ServicePort: the same pod behind two ServicePorts has two ids.
    EndpointId(u32)
}
id! {
    /// Counts publications of the service table; one generation decides a whole burst.
    Generation(u64)
}
