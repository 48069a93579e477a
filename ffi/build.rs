//! Gives the shared library its soname. Before 1.0 each minor version is an ABI of its own.
//!
//! Symbols other than the `portolan_` ones are hidden by the version script that rustc writes for a cdylib.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    let minor = env::var("CARGO_PKG_VERSION_MINOR").unwrap_or_default();
    let major = env::var("CARGO_PKG_VERSION_MAJOR").unwrap_or_default();
    if target == "linux" {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libportolan.so.{major}.{minor}");
    }
}
