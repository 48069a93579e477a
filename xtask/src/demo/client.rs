//! A client: `curl` in some place of the cluster, a new connection for every request.

use core::time::Duration;
use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::cluster::Place;
use crate::process;

/// How long a request may take before it counts as unanswered.
const REQUEST_LIMIT_S: u32 = 2;

/// How long one call of curl may take, with all its requests.
const CURL_LIMIT: Duration = Duration::from_secs(60);

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
    /// How many requests got none.
    pub(crate) silent: u32,
}

impl Answers {
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
    ask_from(place, None, url, requests)
}

/// The same with a source address of the client's own choice.
pub(crate) fn ask_from(
    place: &Place,
    source: Option<&str>,
    url: &str,
    requests: u32,
) -> Result<Answers> {
    let mut curl = place.namespace.command("curl");
    // HTTP/1.0 closes after the answer: every request is a connection of its own.
    curl.args([
        "--http1.0",
        "--silent",
        "--max-time",
        &REQUEST_LIMIT_S.to_string(),
    ]);
    if let Some(source) = source {
        curl.args(["--interface", source]);
    }
    // Braces of IPv6 addresses are not to be taken for a range; the range is in the config.
    let config = (1..=requests).map(|number| format!("url = \"{url}/{number}\"\n"));
    curl.args(["--globoff", "--config", "-"]);
    let said = process::output(&mut curl, &config.collect::<String>(), CURL_LIMIT)?;
    let given = said
        .stdout
        .lines()
        .map(answer)
        .collect::<Result<Vec<_>>>()?;
    let silent = requests.saturating_sub(given.len() as u32);
    Ok(Answers { given, silent })
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
