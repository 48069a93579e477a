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
    let header = String::from_utf8(header).context("the header is text")?;
    Ok(tidy(&header).into_bytes())
}

/// A line of the header may be this long.
#[cfg(feature = "header")]
const WIDTH: usize = 110;

/// Lays comments out as C programs do: on one line where they fit, beside a `#define` where they fit, with
/// stars otherwise. What Rust says of safety is left out: the header's first page says it once for all.
#[cfg(feature = "header")]
fn tidy(header: &str) -> String {
    let mut written = String::new();
    let mut lines = header.lines().peekable();
    let mut group = None;
    while let Some(line) = lines.next() {
        if line.trim() != "/*" {
            // Constants of one kind stand together.
            let between = group.is_some() && line.is_empty() && lines.peek() == Some(&"/*");
            if !between {
                written.push_str(line);
                written.push('\n');
                group = None;
            }
            continue;
        }
        let indent = line.trim_end_matches("/*");
        let text: Vec<&str> = lines
            .by_ref()
            .take_while(|line| line.trim() != "*/")
            .map(str::trim)
            .collect();
        let contract = text
            .split(|line| *line == "# Safety")
            .next()
            .unwrap_or_default();
        let length = contract
            .iter()
            .rposition(|line| !line.is_empty())
            .map_or(0, |last| last + 1);
        let comment = comment(&contract[..length], indent);
        let define = lines.next_if(|next| next.starts_with("#define"));
        let new_group = define.map(kind_of_constant);
        if group.is_some() && group != new_group {
            written.push('\n');
        }
        group = new_group;
        match define {
            Some(define) if define.len() + 1 + comment.len() <= WIDTH && length == 1 => {
                written.push_str(&format!("{define} {comment}\n"));
            }
            Some(define) => written.push_str(&format!("{comment}\n{define}\n")),
            None => written.push_str(&format!("{indent}{comment}\n")),
        }
    }
    written
}

/// `PORTOLAN_DROP` of `#define PORTOLAN_DROP_NO_CONNECTION 11`.
#[cfg(feature = "header")]
fn kind_of_constant(define: &str) -> String {
    let name = define.split(' ').nth(1).unwrap_or_default();
    name.splitn(3, '_').take(2).collect::<Vec<_>>().join("_")
}

/// One comment, without the indentation of its first line.
#[cfg(feature = "header")]
fn comment(text: &[&str], indent: &str) -> String {
    let text: Vec<String> = text.iter().map(|line| line.replace('`', "")).collect();
    let one_line = format!("/* {} */", text.join(" "));
    if text.len() == 1 && indent.len() + one_line.len() <= WIDTH {
        return one_line;
    }
    let lines: Vec<String> = text
        .iter()
        .map(|line| format!(" * {line}").trim_end().to_owned())
        .collect();
    let body = lines.join(&format!("\n{indent}"));
    format!(
        "/*{}\n{indent} */",
        body.strip_prefix(" *").unwrap_or(&body)
    )
}
