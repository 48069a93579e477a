//! Network namespaces without a name: each goes with whoever holds it, however this process ends.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{self, Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// A network namespace of our own. Needs root.
#[derive(Debug)]
pub struct Namespace(File);

impl Namespace {
    /// Makes one, its loopback up.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn new() -> io::Result<Self> {
        in_a_thread(|| {
            #[expect(unsafe_code, reason = "descriptors could be unshared, too")]
            // SAFETY: this thread, which ends here, changes its network and nothing else.
            let unshared = unsafe { unshare_unsafe(UnshareFlags::NEWNET) };
            unshared.map_err(|error| {
                io::Error::new(error.kind(), format!("a network namespace: {error}"))
            })?;
            run("ip", &["link", "set", "lo", "up"], "")?;
            File::open("/proc/thread-self/ns/net").map(Self)
        })
    }

    /// Does `work` in here, in a thread of its own. Sockets that it opens stay in here, programs that it runs run in here.
    ///
    /// # Errors
    /// Those of `work`, or what the kernel refuses.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        in_a_thread(|| {
            move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))?;
            work()
        })
    }

    /// What `ip` calls it as long as it is held.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", process::id(), self.0.as_raw_fd())
    }
}

fn in_a_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let working = scope.spawn(work);
        working
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs a program to its end; what it wrote on standard output.
///
/// # Errors
/// If it cannot be started; if it fails, with what it complained about.
pub fn run(program: &str, arguments: &[&str], input: &str) -> io::Result<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
    let sent = child
        .stdin
        .take()
        .map(|mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    if output.status.success() {
        sent.unwrap_or(Ok(()))?;
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!(
        "{program} {}: {}",
        arguments.join(" "),
        said.trim()
    )))
}
