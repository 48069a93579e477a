//! A client: `curl` in some place of the cluster, a new connection for every request.

use core::time::Duration;
use std::collections::BTreeMap;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::cluster::Place;
use crate::process::{self, Running};

/// Seconds that a request may take before it counts as unanswered: two SYNs may be late where the machine is busy.
pub(crate) const ANSWER_LIMIT_S: u32 = 5;

/// The same where no answer is expected, or not yet.
pub(crate) const SILENCE_LIMIT_S: u32 = 2;

/// How long one call of curl may take, with all its requests.
const CURL_LIMIT: Duration = Duration::from_secs(60);

/// curl's exit status for a request that ran out of time.
const TIMED_OUT: &str = "28";

/// One answer: who gave it, and whom it saw.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Answer {
    /// The pod.
    pub(crate) pod: String,
    /// The node it runs on.
    pub(crate) node: String,
    /// The port the pod listens on.
    pub(crate) port: u16,
    /// The address that the pod takes for its client's.
    pub(crate) client: String,
}

/// What came of a number of requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    /// Each answer, in order.
    pub(crate) given: Vec<Answer>,
    /// How many requests ran out of time.
    pub(crate) silent: u32,
    /// How many were refused, or failed in another way, by curl's exit status (7: refused).
    pub(crate) failed: BTreeMap<u32, u32>,
}

impl Answers {
    /// How many requests were not answered, for whatever reason.
    pub(crate) fn unanswered(&self) -> u32 {
        self.silent + self.failed.values().sum::<u32>()
    }

    /// How many answers each pod gave.
    pub(crate) fn by_pod(&self) -> BTreeMap<&str, u32> {
        let mut counts = BTreeMap::new();
        for answer in &self.given {
            *counts.entry(answer.pod.as_str()).or_default() += 1;
        }
        counts
    }
}

/// Sends `requests` requests to `url` (without a path) from `place`, one after another.
pub(crate) fn ask(place: &Place, url: &str, requests: u32) -> Result<Answers> {
    ask_from(place, None, url, requests, SILENCE_LIMIT_S)
}

/// The same with a source address of the client's own choice, each request for so many seconds.
pub(crate) fn ask_from(
    place: &Place,
    source: Option<&str>,
    url: &str,
    requests: u32,
    limit_s: u32,
) -> Result<Answers> {
    let mut curl = place.namespace.command("curl");
    // HTTP/1.0 closes after the answer: every request is a connection of its own.
    curl.args(["--http1.0", "--silent", "--max-time", &limit_s.to_string()]);
    if let Some(source) = source {
        curl.args(["--interface", source]);
    }
    curl.args(["--write-out", "exit status %{exitcode}\\n"]);
    // Braces of IPv6 addresses are not to be taken for a range; the range is in the config.
    let config = (1..=requests).map(|number| format!("url = \"{url}/{number}\"\n"));
    curl.args(["--globoff", "--config", "-"]);
    let said = process::output(&mut curl, &config.collect::<String>(), CURL_LIMIT)?;
    let mut answers = Answers::default();
    for line in said.stdout.lines() {
        match line.strip_prefix("exit status ") {
            Some("0") => {}
            Some(TIMED_OUT) => answers.silent += 1,
            Some(status) => *answers.failed.entry(status.parse()?).or_default() += 1,
            None => answers.given.push(answer(line)?),
        }
    }
    let accounted = answers.given.len() + answers.unanswered() as usize;
    ensure!(
        accounted == requests as usize,
        "curl tells of {accounted} of {requests} requests"
    );
    Ok(answers)
}

/// A connection that is held while other things happen: requests on it one after another, five a second.
#[derive(Debug)]
pub(crate) struct Held {
    _curl: Running,
    log: PathBuf,
    requests: usize,
}

/// What became of a held connection.
#[derive(Debug)]
pub(crate) struct Kept {
    /// What was answered on it.
    pub(crate) answers: Answers,
    /// How many connections it took; 1 if the first one held.
    pub(crate) connections: u32,
}

/// Opens a connection to `url` (without a path, of an IPv4 address) from `place` and holds it for so many requests,
/// whose outcomes go to the file `log`. The first has been answered.
pub(crate) fn hold(place: &Place, url: &str, requests: usize, log: &Path) -> Result<Held> {
    let mut curl = place.namespace.command("curl");
    curl.args([
        "--silent",
        "--no-buffer",
        "--rate",
        "5/s",
        "--max-time",
        "5",
    ]);
    curl.args(["--write-out", "exit status %{exitcode} %{num_connects}\\n"]);
    curl.arg(format!("{url}/[1-{requests}]"));
    let held = Held {
        _curl: Running::start("a held connection", &mut curl, log)?,
        log: log.to_path_buf(),
        requests,
    };
    process::until("a connection is open", CURL_LIMIT, || {
        Ok(held.outcomes()?.len() > 1)
    })?;
    Ok(held)
}

impl Held {
    /// An answer and its status for each request so far, in turns.
    fn outcomes(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(&self.log)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        Ok(text.split_at(whole).0.lines().map(str::to_owned).collect())
    }

    /// Waits for its last request.
    pub(crate) fn end(self) -> Result<Kept> {
        let is_status = |line: &&String| line.starts_with("exit status ");
        process::until("the last request is over", CURL_LIMIT, || {
            Ok(self.outcomes()?.iter().filter(is_status).count() == self.requests)
        })?;
        let mut kept = Kept {
            answers: Answers::default(),
            connections: 0,
        };
        for line in self.outcomes()? {
            match line.strip_prefix("exit status ") {
                Some(words) => {
                    let (status, connects) = words.split_once(' ').context("two numbers")?;
                    kept.connections += connects.parse::<u32>()?;
                    match status {
                        "0" => {}
                        TIMED_OUT => kept.answers.silent += 1,
                        status => *kept.answers.failed.entry(status.parse()?).or_default() += 1,
                    }
                }
                None => kept.answers.given.push(answer(&line)?),
            }
        }
        Ok(kept)
    }
}

fn answer(line: &str) -> Result<Answer> {
    let mut words = line.split(' ').map(str::to_owned);
    let mut word = || {
        words
            .next()
            .with_context(|| format!("an answer cut short: {line:?}"))
    };
    let (pod, node, port, client) = (word()?, word()?, word()?, word()?);
    Ok(Answer {
        pod,
        node,
        port: port.parse().context("a port")?,
        client,
    })
}
