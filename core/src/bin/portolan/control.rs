//! The socket on which a running `portolan` answers: one JSON request a line, one JSON answer a line.

use crate::CommandError;
use crate::get::Resource;
use core::time::Duration;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread;

/// Longest request, in bytes: a manifest of some thousands of objects.
const MAX_REQUEST: u64 = 16 << 20;
/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(5);

/// What can be asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Request {
    /// What `portolan get` prints.
    Get {
        /// Of what.
        resource: Resource,
    },
    /// What `portolan explain` prints.
    Explain {
        /// The packet from the IP header on, in hexadecimal.
        packet: String,
        /// The interface that it enters by, if it was named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interface: Option<String>,
    },
    /// What `portolan apply` asks for: objects of a store, created or replaced.
    Apply {
        /// The manifest's text.
        manifest: String,
    },
    /// What `portolan delete` asks for.
    Delete {
        /// Kind, namespace and name of each object.
        objects: Vec<(String, String, String)>,
    },
    /// Whole objects of a store.
    Objects {
        /// Their kind, as `kubectl get` names it.
        kind: String,
    },
}

impl Request {
    /// How long whoever asks waits for the answer: what is applied is on the disk first, object by object.
    const fn patience(&self) -> Duration {
        match self {
            Self::Apply { .. } | Self::Delete { .. } => Duration::from_secs(300),
            Self::Get { .. } | Self::Explain { .. } | Self::Objects { .. } => PATIENCE,
        }
    }
}

/// A request and where its answer goes.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) answer: Sender<Result<Value, String>>,
}

/// Where the socket is, if nobody says: the first of these that can be used.
fn default_paths() -> Vec<PathBuf> {
    let own = std::env::var_os("XDG_RUNTIME_DIR")
        .map(|directory| Path::new(&directory).join("portolan.sock"));
    core::iter::once(PathBuf::from("/run/portolan.sock"))
        .chain(own)
        .collect()
}

/// A socket that answers until it is dropped, which removes it.
#[derive(Debug)]
pub(crate) struct Socket {
    path: PathBuf,
}

impl Socket {
    /// The socket's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Listens at `path`, or at the first of the default places, and hands every request to `ask`.
    pub(crate) fn open(
        path: Option<&Path>,
        ask: impl Fn(Asked) -> bool + Send + 'static,
    ) -> Result<Self, CommandError> {
        let candidates = path.map_or_else(default_paths, |path| vec![path.to_owned()]);
        let mut refusal = String::new();
        for path in candidates {
            match bind(&path) {
                Ok(listener) => {
                    thread::Builder::new()
                        .name("portolan-control".to_owned())
                        .spawn(move || serve(&listener, &ask))?;
                    return Ok(Self { path });
                }
                Err(error) => refusal = format!("control socket {}: {error}", path.display()),
            }
        }
        Err(refusal.into())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Somebody else may have removed it; that is no harm.
        let _ = fs::remove_file(&self.path);
    }
}

/// Binds, taking over a socket that a dead process left behind.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            if UnixStream::connect(path).is_ok() {
                let rule = "another portolan answers there; name another with --control";
                return Err(io::Error::new(ErrorKind::AddrInUse, rule));
            }
            fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn serve(listener: &UnixListener, ask: &impl Fn(Asked) -> bool) {
    for stream in listener.incoming() {
        let served = stream.and_then(|stream| serve_one(stream, ask));
        match served {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::debug!("control socket: {error}"),
        }
    }
}

/// Answers the requests of one connection; false if nobody is there any more to ask.
fn serve_one(stream: UnixStream, ask: &impl Fn(Asked) -> bool) -> io::Result<bool> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut out = stream.try_clone()?;
    let mut lines = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if lines.by_ref().take(MAX_REQUEST).read_line(&mut line)? == 0 {
            return Ok(true);
        }
        let answer = match serde_json::from_str(&line) {
            Ok(request) => {
                let patience = Request::patience(&request);
                let (answer, answered) = channel();
                if !ask(Asked { request, answer }) {
                    return Ok(false);
                }
                match answered.recv_timeout(patience) {
                    Ok(Ok(value)) => json!({ "answer": value }),
                    Ok(Err(error)) => json!({ "error": error }),
                    Err(_) => json!({ "error": "the process is busy or ending" }),
                }
            }
            Err(error) => json!({ "error": format!("the request is not understood: {error}") }),
        };
        writeln!(out, "{answer}")?;
    }
}

/// Asks the running process at `path`, or at the default places.
///
/// # Errors
///
/// If nobody listens there, or if the answer is an error.
pub(crate) fn ask(path: Option<&Path>, request: &Request) -> Result<Value, CommandError> {
    let candidates = path.map_or_else(default_paths, |path| vec![path.to_owned()]);
    let mut refusals = Vec::new();
    for path in &candidates {
        match UnixStream::connect(path) {
            Ok(stream) => return exchange(stream, request),
            Err(error) => refusals.push(format!("{}: {error}", path.display())),
        }
    }
    let refusals = refusals.join(", ");
    Err(format!(
        "no running portolan answers ({refusals}); name its socket with --control, or give \
         --node-config and --objects, or --store"
    )
    .into())
}

fn exchange(mut stream: UnixStream, request: &Request) -> Result<Value, CommandError> {
    stream.set_read_timeout(Some(request.patience() * 2))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    writeln!(stream, "{}", serde_json::to_string(request)?)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    let mut answer: Value = serde_json::from_str(&line)?;
    if let Some(error) = answer.get("error").and_then(Value::as_str) {
        return Err(error.to_owned().into());
    }
    Ok(answer["answer"].take())
}
