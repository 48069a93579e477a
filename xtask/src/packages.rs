//! What the commands need from the system, and how to get it: installed with apt-get by root on
//! Debian and its like, otherwise named exactly.

use core::fmt;
use core::time::Duration;
use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// A program and the Debian package that brings it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tool {
    program: &'static str,
    package: &'static str,
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (Debian's package {})", self.program, self.package)
    }
}

/// `ip`: namespaces, links, routes and rules.
pub(crate) const IP: Tool = Tool {
    program: "ip",
    package: "iproute2",
};
/// `nft`: marks the packets of neighbour discovery; the kernel tables are tested through it.
pub(crate) const NFT: Tool = Tool {
    program: "nft",
    package: "nftables",
};
/// `curl`: the client of the demo.
pub(crate) const CURL: Tool = Tool {
    program: "curl",
    package: "curl",
};
/// `iperf3`: throughput.
pub(crate) const IPERF3: Tool = Tool {
    program: "iperf3",
    package: "iperf3",
};
/// `dig`: asks for names.
pub(crate) const DIG: Tool = Tool {
    program: "dig",
    package: "bind9-dnsutils",
};
/// `wget`: follows a name as programs do, through the system's resolver.
pub(crate) const WGET: Tool = Tool {
    program: "wget",
    package: "wget",
};
/// `knotd`: another DNS server, to ask and to be measured beside.
pub(crate) const KNOTD: Tool = Tool {
    program: "knotd",
    package: "knot",
};
/// `dnsperf`: asks for names as fast as they are answered.
pub(crate) const DNSPERF: Tool = Tool {
    program: "dnsperf",
    package: "dnsperf",
};
/// `runsc`: gVisor, where a TUN offers less.
pub(crate) const RUNSC: Tool = Tool {
    program: "runsc",
    package: "runsc",
};
/// A C compiler: the C examples and tests.
pub(crate) const CC: Tool = Tool {
    program: "cc",
    package: "gcc",
};
/// `objdump`: follows the calls of the optimised burst.
pub(crate) const OBJDUMP: Tool = Tool {
    program: "objdump",
    package: "binutils",
};
/// `valgrind`: counts instructions.
pub(crate) const VALGRIND: Tool = Tool {
    program: "valgrind",
    package: "valgrind",
};
/// `pkg-config`: how C programs ask for the library.
pub(crate) const PKG_CONFIG: Tool = Tool {
    program: "pkg-config",
    package: "pkg-config",
};
/// `cmake`: the other way.
pub(crate) const CMAKE: Tool = Tool {
    program: "cmake",
    package: "cmake",
};
/// `musl-gcc`: programs that are wholly static.
pub(crate) const MUSL_GCC: Tool = Tool {
    program: "musl-gcc",
    package: "musl-tools",
};

/// `iptables`: whose chains a kube-proxy has left behind.
pub(crate) const IPTABLES: Tool = Tool {
    program: "iptables",
    package: "iptables",
};
/// `prometheus`: evaluates what boards and alerts ask of metrics.
pub(crate) const PROMETHEUS: Tool = Tool {
    program: "prometheus",
    package: "prometheus",
};
/// `ethtool`: makes a device that completes no checksum.
pub(crate) const ETHTOOL: Tool = Tool {
    program: "ethtool",
    package: "ethtool",
};
/// `strace`: makes system calls fail.
pub(crate) const STRACE: Tool = Tool {
    program: "strace",
    package: "strace",
};

/// How long apt-get may take, for each of its calls.
const APT_LIMIT: Duration = Duration::from_secs(300);

/// Makes sure that every one of `tools` is here, or says exactly what to install.
pub(crate) fn require(tools: &[Tool]) -> Result<()> {
    let absent = absent(tools, &search_path());
    if absent.is_empty() {
        return Ok(());
    }
    let packages: Vec<_> = absent.iter().map(|tool| tool.package).collect();
    let wanted = packages.join(" ");
    if find("apt-get", &search_path()).is_none() {
        bail!("this needs programs that Debian has in the packages: {wanted}. Install them first");
    }
    if !is_root() {
        bail!("this needs more packages. As root: apt-get update && apt-get install -y {wanted}");
    }
    println!("installing {wanted} (apt-get)");
    install(&packages).with_context(|| format!("installing {wanted}"))
}

/// Is the program there?
pub(crate) fn is_here(tool: Tool) -> bool {
    absent(&[tool], &search_path()).is_empty()
}

/// Is this process allowed to do what root may?
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Those of `tools` whose program lies in none of `directories`.
fn absent(tools: &[Tool], directories: &[String]) -> Vec<Tool> {
    tools
        .iter()
        .copied()
        .filter(|tool| find(tool.program, directories).is_none())
        .collect()
}

/// `PATH`, and where Debian keeps administrators' programs, which users' `PATH` leaves out.
fn search_path() -> Vec<String> {
    let path = env::var("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
    path.split(':')
        .chain(system)
        .filter(|dir| !dir.is_empty())
        .map(str::to_owned)
        .collect()
}

fn find<'d>(program: &str, directories: &'d [String]) -> Option<&'d String> {
    directories
        .iter()
        .find(|directory| Path::new(directory).join(program).is_file())
}

/// Installs with the package lists there are; fetches the lists once if that fails.
fn install(packages: &[&str]) -> Result<()> {
    let attempt = || apt_get(&[&["install", "-y", "--no-install-recommends"], packages].concat());
    if attempt().is_ok() {
        return Ok(());
    }
    apt_get(&["update"])?;
    attempt()
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command
        .arg("-q")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive");
    process::run(&mut command, "", APT_LIMIT).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_in_no_directory_is_absent() {
        let nowhere = Tool {
            program: "no-such-program-anywhere",
            package: "nothing",
        };
        assert_eq!(absent(&[nowhere], &search_path()), [nowhere]);
    }

    #[test]
    fn a_program_in_one_directory_is_found() {
        let shell = Tool {
            program: "sh",
            package: "dash",
        };
        assert_eq!(absent(&[shell], &search_path()), []);
    }
}
