//! Child processes with an end: every wait has a limit, every child that is kept is killed by its
//! own id when its guard goes.

use core::time::Duration;
use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

use crate::{clock, interrupt};

/// How often a waiting loop looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What a finished child said.
#[derive(Debug)]
pub(crate) struct Output {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// What it wrote on standard output.
    pub(crate) stdout: String,
    /// What it wrote on standard error.
    pub(crate) stderr: String,
}

/// Runs `command` to its end and returns what it said, whether it succeeded or not.
///
/// A child that is still running after `limit`, or when a signal arrives, is killed.
pub(crate) fn output(command: &mut Command, input: &str, limit: Duration) -> Result<Output> {
    let shown = shown(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting `{shown}`"))?;
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    if let Some(mut stdin) = child.stdin.take() {
        // A child that ends before it has read everything says why itself.
        let _ = stdin.write_all(input.as_bytes());
    }
    let status = wait(&mut child, limit).with_context(|| format!("`{shown}`"))?;
    let text = |thread: thread::JoinHandle<String>| thread.join().unwrap_or_default();
    Ok(Output {
        status,
        stdout: text(stdout),
        stderr: text(stderr),
    })
}

/// Runs `command` and returns its standard output; anything but success is an error that carries
/// what the child complained about.
pub(crate) fn run(command: &mut Command, input: &str, limit: Duration) -> Result<String> {
    let shown = shown(command);
    let output = output(command, input, limit)?;
    if !output.status.success() {
        bail!(
            "`{shown}` failed ({}): {}",
            output.status,
            output.stderr.trim()
        );
    }
    Ok(output.stdout)
}

/// Waits until `child` ends; kills it after `limit` or when a signal arrives.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Result<ExitStatus> {
    let deadline = clock::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        let interrupted = interrupt::check();
        if interrupted.is_err() || clock::now() > deadline {
            child.kill()?;
            child.wait()?;
            interrupted?;
            bail!("still running after {} s, killed", limit.as_secs());
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// Asks `done` again and again until it says yes; an error after `limit` names what was awaited. What was
/// asked before the limit and answered after it is asked once more: a slow answer tells of an older state.
pub(crate) fn until(
    awaited: &str,
    limit: Duration,
    mut done: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let deadline = clock::now() + limit;
    loop {
        let last = clock::now() > deadline;
        if done()? {
            return Ok(());
        }
        interrupt::check()?;
        if last {
            bail!("{awaited}: still not so after {} s", limit.as_secs());
        }
        thread::sleep(LOOK_AGAIN * 4);
    }
}

/// A child that runs beside us until it is dropped.
pub(crate) struct Running {
    name: String,
    child: Child,
}

impl Running {
    /// Starts `command`; both of its outputs go to the file `log`.
    pub(crate) fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("creating {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {name}: `{}`", shown(command)))?;
        Ok(Self {
            name: name.to_owned(),
            child,
        })
    }

    /// Fails if the child has ended, which it should not do by itself.
    pub(crate) fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended by itself ({status})", self.name);
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Killed rather than asked: what it held (sockets, a TUN) goes with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.name, self.child.id())
    }
}

/// The command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let words = core::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What could be read before an error is still worth showing.
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
