//! Running `nft`: for what is constant, and where netlink is refused.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use std::io::{self, Write};
use std::process::{Command, Stdio};

/// How `nft` is called: the program, and what stands before its own arguments (`ip netns exec NAME nft`, for
/// instance). It must act in the network namespace of the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NftCommand(Vec<String>);

impl Default for NftCommand {
    /// `nft`, out of `PATH`.
    fn default() -> Self {
        Self(Vec::from(["nft".to_string()]))
    }
}

/// Why a call of `nft` came to nothing. A ruleset that it refuses changes nothing.
#[derive(Debug)]
#[non_exhaustive]
pub enum NftError {
    /// It could not be run.
    Run(io::Error),
    /// It ended with an error, and said this.
    Refused(String),
}

impl fmt::Display for NftError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(error) => {
                write!(f, "nft (Debian package nftables) could not be run: {error}")
            }
            Self::Refused(said) => write!(f, "nft: {}", said.trim_end()),
        }
    }
}

impl core::error::Error for NftError {}

impl NftCommand {
    /// A program with its first arguments; empty is `nft`.
    #[must_use]
    pub fn new(words: Vec<String>) -> Self {
        if words.is_empty() {
            Self::default()
        } else {
            Self(words)
        }
    }

    /// Applies a ruleset: all of it or nothing.
    pub(super) fn apply(&self, text: &str) -> Result<(), NftError> {
        self.run(&["-f", "-"], text).map(drop)
    }

    /// Would the kernel take this ruleset? Nothing is changed.
    pub(super) fn check(&self, text: &str) -> Result<(), NftError> {
        self.run(&["-c", "-f", "-"], text).map(drop)
    }

    /// What `nft --version` says.
    pub(super) fn version(&self) -> Result<String, NftError> {
        self.run(&["--version"], "")
    }

    fn run(&self, arguments: &[&str], input: &str) -> Result<String, NftError> {
        let mut words = self.0.iter();
        let mut child = Command::new(words.next().map_or("nft", String::as_str))
            .args(words)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(NftError::Run)?;
        if let Some(mut stdin) = child.stdin.take() {
            // Whoever does not read on says why at its end.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output().map_err(NftError::Run)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = if said.is_empty() {
            output.status.to_string()
        } else {
            said.into_owned()
        };
        Err(NftError::Refused(said))
    }
}
