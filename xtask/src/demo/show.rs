//! The table that the demo prints: who asked where, who answered, and whether that is right.

use std::io::{self, IsTerminal, Write};

use anyhow::Result;

use super::client::{self, Answers, Held, Kept};
use super::cluster::Place;
use super::shares::Spread;

/// What should come of a number of requests.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected<'a> {
    /// Every one of these pods answers, no other, as often as the others within statistics.
    Evenly(&'a [&'a str]),
    /// Every one of these pods answers, and no other.
    AllOf(&'a [&'a str]),
    /// One pod alone answers everything, whichever of these it is.
    One(&'a [&'a str]),
    /// No answer and no error.
    Silence,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trial<'a> {
    /// Who asks.
    pub(crate) from: &'a Place,
    /// With which source address, if it has several.
    pub(crate) source: Option<&'a str>,
    /// The address and port asked.
    pub(crate) to: &'a str,
    /// How often.
    pub(crate) requests: u32,
    /// What should come of it.
    pub(crate) expected: Expected<'a>,
    /// Which address the pods should take for the client's, where that matters.
    pub(crate) seen_as: Option<&'a str>,
}

impl<'a> Trial<'a> {
    /// A row without conditions on addresses.
    pub(crate) fn new(from: &'a Place, to: &'a str, requests: u32, expected: Expected<'a>) -> Self {
        Self {
            from,
            source: None,
            to,
            requests,
            expected,
            seen_as: None,
        }
    }

    /// The same, with conditions on whom the pods see.
    pub(crate) fn seen_as(self, client: &'a str) -> Self {
        Self {
            seen_as: Some(client),
            ..self
        }
    }
}

/// Prints the table as it grows and keeps count of what was not as it should be.
#[derive(Debug, Default)]
pub(crate) struct Show {
    rows: u32,
    wrong: u32,
}

impl Show {
    /// Opens a scenario.
    pub(crate) fn scenario(&self, title: &str) {
        println!("\n{}", bold(title));
    }

    /// Says something between rows.
    pub(crate) fn say(&self, text: &str) {
        for line in text.lines() {
            println!("  {line}");
        }
    }

    /// Sends the requests of one row and prints who answered.
    pub(crate) fn trial(&mut self, trial: &Trial<'_>) -> Result<Answers> {
        let url = format!("http://{}", trial.to);
        let limit_s = match trial.expected {
            Expected::Silence => client::SILENCE_LIMIT_S,
            Expected::Evenly(_) | Expected::AllOf(_) | Expected::One(_) => client::ANSWER_LIMIT_S,
        };
        let Trial {
            from,
            source,
            requests,
            ..
        } = *trial;
        let answers = client::ask_from(from, source, &url, requests, limit_s)?;
        let from = trial.source.map_or_else(
            || trial.from.name.clone(),
            |source| format!("{} {source}", trial.from.name),
        );
        let judged = judge(trial, &answers);
        self.row(&from, trial.to, &counts(&answers), judged);
        Ok(answers)
    }

    /// Waits for a connection that was held and prints whether it held.
    pub(crate) fn held(&mut self, from: &Place, to: &str, held: Held) -> Result<()> {
        let Kept {
            answers,
            connections,
        } = held.end()?;
        let pods = answers.by_pod().len();
        let judged = match (answers.unanswered(), connections, pods) {
            (0, 1, 1) => Ok("the connection went on".to_owned()),
            (0, 1, _) => Err("one connection led to several pods".to_owned()),
            (0, more, _) => Err(format!("it took {more} connections")),
            (lost, ..) => Err(format!("{lost} requests were not answered")),
        };
        self.row(&from.name, to, &counts(&answers), judged);
        Ok(())
    }

    /// Prints a row that was found out in another way.
    pub(crate) fn row(&mut self, from: &str, to: &str, who: &str, judged: Judged) {
        self.rows += 1;
        let (mark, why) = match judged {
            Ok(why) => ("ok", why),
            Err(why) => ("WRONG", why),
        };
        self.wrong += u32::from(mark == "WRONG");
        println!("  {from:<22} -> {to:<24} {who:<36} {mark:<5} {why}");
        // A reader that has gone is no reason to leave the cluster standing.
        let _ = io::stdout().flush();
    }

    /// How many rows there are, and how many are wrong.
    pub(crate) fn totals(&self) -> (u32, u32) {
        (self.rows, self.wrong)
    }
}

/// Right or wrong, and why.
pub(crate) type Judged = Result<String, String>;

fn judge(trial: &Trial<'_>, answers: &Answers) -> Judged {
    let found = spread(trial.expected, answers)?;
    let Some(client) = trial.seen_as else {
        return Ok(found);
    };
    match answers.given.iter().find(|answer| answer.client != client) {
        Some(answer) => Err(format!(
            "{} saw {} and not {client}",
            answer.pod, answer.client
        )),
        None => Ok(format!("{found}; pods see {client}")),
    }
}

fn spread(expected: Expected<'_>, answers: &Answers) -> Judged {
    if let Expected::Silence = expected {
        return match answers.given.first() {
            Some(answer) => Err(format!("{} answered, silence was expected", answer.pod)),
            None if answers.failed.is_empty() => Ok("no answer, no error".to_owned()),
            None => Err("an error, silence was expected".to_owned()),
        };
    }
    if answers.unanswered() > 0 {
        return Err(format!(
            "{} requests were not answered",
            answers.unanswered()
        ));
    }
    let by_pod = answers.by_pod();
    let (Expected::Evenly(allowed) | Expected::AllOf(allowed) | Expected::One(allowed)) = expected
    else {
        return Ok(String::new());
    };
    if let Some(stranger) = by_pod.keys().find(|pod| !allowed.contains(pod)) {
        return Err(format!("{stranger} should not have answered"));
    }
    if let Expected::One(_) = expected {
        return if by_pod.len() == 1 {
            Ok("one pod".to_owned())
        } else {
            Err("more than one pod answered".to_owned())
        };
    }
    if let Some(absent) = allowed.iter().find(|pod| !by_pod.contains_key(**pod)) {
        return Err(format!("{absent} never answered"));
    }
    match (
        expected,
        Spread::of(&by_pod.into_values().collect::<Vec<_>>()),
    ) {
        (Expected::Evenly(_), Some(spread)) => {
            let Spread { chi_square, limit } = spread;
            let found = format!("chi-square {chi_square:.2}, limit {limit:.2}");
            if spread.is_even() {
                Ok(format!("even: {found}"))
            } else {
                Err(found)
            }
        }
        _ => Ok("all of them".to_owned()),
    }
}

/// `web-1 12  web-2 9  silent 1`.
fn counts(answers: &Answers) -> String {
    let mut parts: Vec<_> = answers
        .by_pod()
        .iter()
        .map(|(pod, count)| format!("{pod} {count}"))
        .collect();
    if answers.silent > 0 {
        parts.push(format!("silent {}", answers.silent));
    }
    let failed = answers.failed.iter();
    parts.extend(failed.map(|(status, count)| format!("curl error {status}: {count}")));
    parts.join("  ")
}

fn bold(text: &str) -> String {
    if io::stdout().is_terminal() {
        format!("\x1b[1m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}
