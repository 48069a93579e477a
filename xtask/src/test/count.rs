//! How many tests a runner says it has run: read from what cargo, go and `portolan check` print.

use core::iter::Sum;
use core::ops::Add;

/// Passed, failed and skipped, of one step or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Tests that held.
    pub(crate) passed: u32,
    /// Tests that did not.
    pub(crate) failed: u32,
    /// Tests that did not run.
    pub(crate) skipped: u32,
}

impl Add for Count {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

impl Sum for Count {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), Add::add)
    }
}

/// Whose output is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// The step is one check: it passes or fails as its exit status says.
    Whole,
    /// Rust's test harness with `--show-output`: `test result: ok. 3 passed; 0 failed; 1 ignored; ...`, less the tests
    /// that passed because they said `SKIPPED`.
    Libtest,
    /// `go test -v`: `--- PASS: TestName`, subtests included.
    Go,
    /// `portolan check` and whatever else ends with `N passed, N failed, N skipped`.
    Totals,
}

impl Reader {
    /// Counts what `log` reports. A runner that ended badly has failed at least once, whatever it
    /// printed; one that ran nothing has failed too.
    pub(crate) fn count(self, log: &str, succeeded: bool) -> Count {
        let mut count: Count = match self {
            Self::Whole => Count {
                passed: u32::from(succeeded),
                ..Count::default()
            },
            Self::Libtest => {
                let mut count: Count = log.lines().filter_map(libtest_line).sum();
                let skipped = libtest_skipped(log);
                count.passed = count.passed.saturating_sub(skipped);
                count.skipped += skipped;
                count
            }
            Self::Go => log.lines().filter_map(go_line).sum(),
            Self::Totals => log.lines().filter_map(totals_line).sum(),
        };
        let nothing_ran = count.passed == 0 && count.failed == 0;
        if count.failed == 0 && (nothing_ran || !succeeded) {
            count.failed = 1;
        }
        count
    }
}

fn libtest_line(line: &str) -> Option<Count> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    Some(numbered(counts, ';', "ignored"))
}

/// How many tests passed only because they cannot run here: the harness knows no other way to say so while one runs.
fn libtest_skipped(log: &str) -> u32 {
    let mut skipped = 0;
    let mut among_successes = false;
    let mut counts = false;
    for line in log.lines() {
        match line {
            "successes:" => among_successes = true,
            "failures:" => among_successes = false,
            _ if line.starts_with("---- ") => counts = among_successes,
            _ if counts && line.starts_with("SKIPPED") => {
                skipped += 1;
                counts = false;
            }
            _ => {}
        }
    }
    skipped
}

fn totals_line(line: &str) -> Option<Count> {
    let all_numbered = line.split(", ").all(|part| {
        part.split_once(' ').is_some_and(|(number, word)| {
            number.parse::<u32>().is_ok() && ["passed", "failed", "skipped"].contains(&word)
        })
    });
    all_numbered.then(|| numbered(line, ',', "skipped"))
}

/// Reads `12 passed; 0 failed; 1 ignored` with the given separator and word for what did not run.
fn numbered(counts: &str, separator: char, skipped_word: &str) -> Count {
    let mut count = Count::default();
    for part in counts.split(separator) {
        let Some((number, word)) = part.trim().split_once(' ') else {
            continue;
        };
        let Ok(number) = number.parse::<u32>() else {
            continue;
        };
        match word {
            "passed" => count.passed = number,
            "failed" => count.failed = number,
            _ if word == skipped_word => count.skipped = number,
            _ => {}
        }
    }
    count
}

fn go_line(line: &str) -> Option<Count> {
    let line = line.trim_start();
    if line.starts_with("--- PASS: ") {
        Some(Count {
            passed: 1,
            ..Count::default()
        })
    } else if line.starts_with("--- FAIL: ") {
        Some(Count {
            failed: 1,
            ..Count::default()
        })
    } else if line.starts_with("--- SKIP: ") {
        Some(Count {
            skipped: 1,
            ..Count::default()
        })
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIBTEST: &str = "\
running 4 tests
test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s
running 2 tests
test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out
";

    #[test]
    fn every_binary_of_a_cargo_test_is_added_up() {
        let count = Reader::Libtest.count(LIBTEST, false);
        assert_eq!(
            count,
            Count {
                passed: 4,
                failed: 1,
                skipped: 1
            }
        );
    }

    #[test]
    fn a_test_that_says_it_was_skipped_has_not_passed() {
        let log = "\
running 4 tests

successes:

---- a::b stdout ----
SKIPPED a::b: no network namespace
SKIPPED the rest of it, too

---- c stdout ----
nothing of that

successes:
    a::b
    c

failures:

---- d stdout ----
SKIPPED a part, and failed in another

failures:
    d

test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out
";
        assert_eq!(
            Reader::Libtest.count(log, false),
            Count {
                passed: 2,
                failed: 1,
                skipped: 1
            }
        );
    }

    #[test]
    fn a_runner_that_ran_nothing_has_failed() {
        let log = "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(Reader::Libtest.count(log, true).failed, 1);
        assert_eq!(
            Reader::Go
                .count("ok  \tportolan\t0.1s [no tests to run]", true)
                .failed,
            1
        );
    }

    #[test]
    fn a_runner_that_died_after_good_tests_has_failed() {
        let log = "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(
            Reader::Libtest.count(log, false),
            Count {
                passed: 3,
                failed: 1,
                skipped: 0
            }
        );
    }

    #[test]
    fn a_line_of_totals_is_read_and_prose_is_not() {
        let log = "2 passed, as one would hope\n40 passed, 1 failed, 2 skipped";
        assert_eq!(
            Reader::Totals.count(log, false),
            Count {
                passed: 40,
                failed: 1,
                skipped: 2
            }
        );
    }

    #[test]
    fn go_subtests_are_counted() {
        let log = "=== RUN TestA\n--- PASS: TestA (0.00s)\n    --- SKIP: TestA/b (0.00s)\n";
        assert_eq!(
            Reader::Go.count(log, true),
            Count {
                passed: 1,
                failed: 0,
                skipped: 1
            }
        );
    }
}
