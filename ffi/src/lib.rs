//! The C ABI of Portolan.
