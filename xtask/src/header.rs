//! `cargo xtask header`: include/portolan.h, generated from the C ABI's source by cbindgen.
//!
//! The generator is built only when it is wanted: without the feature `header` the command runs
//! itself again with it.

#[cfg(not(feature = "header"))]
use std::process::Command;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::workspace;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Write nothing; fail if the committed header differs
    #[arg(long)]
    check: bool,
}

/// Writes the header, or compares it with the one that is committed.
#[cfg(not(feature = "header"))]
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut command = Command::new(workspace::cargo());
    command.args([
        "run",
        "--quiet",
        "--package",
        "xtask",
        "--features",
        "header",
        "--",
        "header",
    ]);
    command
        .args(arguments.check.then_some("--check"))
        .current_dir(workspace::root());
    let status = command.status().context("running cargo")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Writes the header, or compares it with the one that is committed.
#[cfg(feature = "header")]
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let header = generate()?;
    let path = workspace::root().join("include/portolan.h");
    if !arguments.check {
        std::fs::create_dir_all(workspace::root().join("include"))?;
        std::fs::write(&path, header).with_context(|| format!("writing {}", path.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    if std::fs::read(&path).unwrap_or_default() == header {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("include/portolan.h is not what the source says: run `cargo xtask header`");
    Ok(ExitCode::FAILURE)
}

#[cfg(feature = "header")]
fn generate() -> Result<Vec<u8>> {
    let package = workspace::root().join("ffi");
    let config = cbindgen::Config::from_file(package.join("cbindgen.toml"))
        .map_err(anyhow::Error::msg)
        .context("reading ffi/cbindgen.toml")?;
    let bindings = cbindgen::Builder::new()
        .with_crate(&package)
        .with_config(config)
        .generate()
        .context("reading the C ABI's source")?;
    let mut header = Vec::new();
    bindings.write(&mut header);
    Ok(header)
}
