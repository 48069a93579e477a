//! One step of `cargo xtask test`: a command, how its output is counted, and what stands against
//! running it.

use core::time::Duration;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::count::{Count, Reader};
use crate::{clock, process, workspace};

/// No step may take longer than this.
const STEP_LIMIT: Duration = Duration::from_secs(1200);

/// How many of a failed step's last lines are shown.
const SHOWN_LINES: usize = 40;

/// A command to run, and how to count what it ran.
#[derive(Debug)]
pub(crate) struct Step {
    name: String,
    command: Command,
    reader: Reader,
    skip: Option<String>,
    obstacle: Option<String>,
}

impl Step {
    /// A step that runs `program` with `arguments` in the workspace's root. Go links the library that the C tests link,
    /// which checks itself: optimising another takes minutes, and is left to `cargo xtask bench go`.
    pub(crate) fn new(name: &str, program: &str, arguments: &[&str], reader: Reader) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(workspace::root());
        if program == "go" {
            let library = workspace::target().join("debug");
            command.env("CGO_LDFLAGS", format!("-L{}", library.display()));
        }
        Self {
            name: name.to_owned(),
            command,
            reader,
            skip: None,
            obstacle: None,
        }
    }

    /// A step that runs cargo.
    pub(crate) fn cargo(name: &str, arguments: &[&str], reader: Reader) -> Self {
        Self::new(name, &workspace::cargo(), arguments, reader)
    }

    /// Runs it in a directory below the workspace's root.
    pub(crate) fn within(mut self, directory: &str) -> Self {
        self.command.current_dir(workspace::root().join(directory));
        self
    }

    /// Sets a variable of the command's environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Does not run it, for the reason given, if there is one.
    pub(crate) fn skip_because(mut self, reason: Option<String>) -> Self {
        self.skip = reason;
        self
    }

    /// Does not run it but counts it as failed, for the reason given, if there is one.
    pub(crate) fn fail_because(mut self, reason: Option<String>) -> Self {
        self.obstacle = reason;
        self
    }

    /// What people call it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs it to its end and prints its line; the whole output goes to a file in `logs`.
    pub(crate) fn run(mut self, logs: &Path) -> Result<Count> {
        if let Some(reason) = &self.skip {
            println!("{:<44} SKIPPED: {reason}", self.name);
            return Ok(Count {
                skipped: 1,
                ..Count::default()
            });
        }
        if let Some(reason) = &self.obstacle {
            println!("{:<44} FAILED: {reason}", self.name);
            return Ok(Count {
                failed: 1,
                ..Count::default()
            });
        }
        let log = self.log_path(logs);
        let started = clock::now();
        let ended = self.run_into(&log);
        let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        let succeeded = ended.as_ref().is_ok_and(|status| status.success());
        let count = self.reader.count(&text, succeeded);
        println!(
            "{:<44} {:>6.1} s  {:>5} passed {:>3} failed {:>3} skipped",
            self.name,
            started.elapsed().as_secs_f64(),
            count.passed,
            count.failed,
            count.skipped,
        );
        if count.skipped > 0 {
            for line in text.lines().filter(|line| line.starts_with("SKIPPED")) {
                println!("    {line}");
            }
            println!("    (why, for each: {})", log.display());
        }
        if count.failed > 0 {
            show_end(&text, &log);
        }
        if let Err(error) = ended {
            println!("    {error:#}");
        }
        Ok(count)
    }

    fn run_into(&mut self, log: &Path) -> Result<std::process::ExitStatus> {
        let file = File::create(log).with_context(|| format!("creating {}", log.display()))?;
        let shown = process::shown(&self.command);
        let mut child = self
            .command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            // A group of its own, so that what cargo has started goes with cargo.
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting `{shown}`"))?;
        let ended = process::wait(&mut child, STEP_LIMIT).with_context(|| format!("`{shown}`"));
        if ended.is_err() {
            let group = format!("-{}", child.id());
            // Nobody may be left in it: then there is nothing to do.
            let _ = Command::new("kill").args(["-KILL", "--", &group]).output();
        }
        ended
    }

    fn log_path(&self, logs: &Path) -> PathBuf {
        let plain = |letter: char| {
            if letter.is_ascii_alphanumeric() {
                letter
            } else {
                '-'
            }
        };
        let name: String = self.name.chars().map(plain).collect();
        logs.join(name).with_extension("log")
    }
}

fn show_end(text: &str, log: &Path) {
    let lines: Vec<_> = text.lines().collect();
    for line in lines.iter().skip(lines.len().saturating_sub(SHOWN_LINES)) {
        println!("    {line}");
    }
    println!("    (all of it: {})", log.display());
}
