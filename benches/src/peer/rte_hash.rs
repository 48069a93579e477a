//! DPDK's `rte_hash`, in a program of its own (`benches/c/rte_hash.c`), which is compiled where DPDK is: EAL takes
//! processors, signals and memory of the process that starts it.

use super::maps::{key_ipv4, key_ipv6};
use crate::Family;
use crate::row::median;
use std::env;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

const SOURCE: &str = include_str!("../../c/rte_hash.c");

/// The program.
#[derive(Debug)]
pub struct RteHash {
    program: PathBuf,
}

impl RteHash {
    /// Its name in the table.
    pub const NAME: &str = "rte_hash";

    /// Keys a call that are looked up: in bulk, and one after the other.
    pub const BULKS: [usize; 2] = [32, 1];

    /// Compiles it.
    ///
    /// # Errors
    /// Says what is missing: DPDK, with the Debian package that has it, or a compiler.
    pub fn compile() -> Result<Self, String> {
        let mut ask = Command::new("pkg-config");
        ask.args(["--cflags", "--libs", "libdpdk"]);
        let flags = finish(&mut ask, |_| Ok(()))
            .map_err(|_| "pkg-config finds no libdpdk (Debian's package libdpdk-dev)")?;
        let program = env::current_exe()
            .map_err(|error| error.to_string())?
            .with_file_name("portolan-rte-hash");
        let mut compile = Command::new("cc");
        compile.args(["-O3", "-march=native", "-x", "c", "-", "-o"]);
        compile.arg(&program).args(flags.split_whitespace());
        finish(&mut compile, |input| input.write_all(SOURCE.as_bytes()))?;
        Ok(Self { program })
    }

    /// Nanoseconds of CPU time a lookup among `count` keys, the same as [`super::maps::Peer`] looks up, for each of
    /// [`RteHash::BULKS`]: medians of `rounds` rounds of about `lookups`.
    ///
    /// # Errors
    /// What the program complains about.
    pub fn lookup_nanos(
        &self,
        family: Family,
        count: u32,
        rounds: usize,
        lookups: u32,
    ) -> Result<[f64; 2], String> {
        let key_bytes = match family {
            Family::Ipv4 => size_of_val(&key_ipv4(0)),
            Family::Ipv6 => size_of_val(&key_ipv6(0)),
        };
        let arguments = [key_bytes, count as usize, rounds, lookups as usize];
        let mut command = Command::new(&self.program);
        command.args(arguments.map(|argument| argument.to_string()));
        let said = finish(&mut command, |input| {
            (0..count).try_for_each(|number| match family {
                Family::Ipv4 => write(input, &key_ipv4(number).map(u32::to_ne_bytes)),
                Family::Ipv6 => write(input, &key_ipv6(number).map(u64::to_ne_bytes)),
            })
        })?;
        Ok(Self::BULKS.map(|bulk| {
            let rounds = said.lines().filter_map(|line| {
                let (of, nanos) = line.split_once(' ')?;
                (of == bulk.to_string()).then(|| nanos.parse().ok())?
            });
            median(&mut rounds.collect::<Vec<f64>>())
        }))
    }
}

fn write<const N: usize>(input: &mut dyn Write, words: &[[u8; N]]) -> io::Result<()> {
    input.write_all(words.as_flattened())
}

/// Runs a program to its end; what it said.
fn finish(
    command: &mut Command,
    feed: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let run = || -> io::Result<(Output, io::Result<()>)> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let fed = child.stdin.take().map_or(Ok(()), |input| {
            let mut input = BufWriter::with_capacity(1 << 16, input);
            feed(&mut input).and_then(|()| input.flush())
        });
        Ok((child.wait_with_output()?, fed))
    };
    let (output, fed) = run().map_err(|error| format!("{name}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{name}: {}", said.trim()));
    }
    fed.map_err(|error| format!("{name}: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rte_hash_finds_every_key_or_is_absent_with_the_package_that_has_it() {
        match RteHash::compile() {
            Ok(rte_hash) => {
                for family in [Family::Ipv4, Family::Ipv6] {
                    let nanos = rte_hash.lookup_nanos(family, 1_000, 1, 2_048);
                    assert!(
                        nanos
                            .as_ref()
                            .is_ok_and(|nanos| nanos.iter().all(|nanos| *nanos > 0.0)),
                        "{family:?}: {nanos:?}"
                    );
                }
            }
            Err(reason) => assert!(reason.contains("libdpdk-dev"), "{reason}"),
        }
    }
}
