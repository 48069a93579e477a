//! Durations as Go writes them (`time.ParseDuration`), which Kubernetes' configurations hold: `1h2m`, `1.5s`, `0`.

use core::time::Duration;

/// The greatest number of seconds that Go's durations hold.
const MAX_SECONDS: u64 = i64::MAX as u64 / NANOS_PER_SECOND;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// What [`parse`] wants, in words.
pub(super) const RULE: &str = "a duration such as 30s or 1h30m, not negative";

/// A duration that is not negative; `None` if the text is none.
pub(super) fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number_len = length_of(rest, |byte| byte.is_ascii_digit() || byte == b'.');
        let (number, after) = rest.split_at_checked(number_len)?;
        let unit_len = length_of(after, |byte| !byte.is_ascii_digit() && byte != b'.');
        let (unit, after) = after.split_at_checked(unit_len)?;
        total = total.checked_add(part(number, unit)?)?;
        rest = after;
    }
    (total.as_secs() <= MAX_SECONDS).then_some(total)
}

fn length_of(text: &str, of: impl Fn(u8) -> bool) -> usize {
    text.bytes().take_while(|byte| of(*byte)).count()
}

/// One number with its unit.
fn part(number: &str, unit: &str) -> Option<Duration> {
    let nanos_each: u64 = match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => NANOS_PER_SECOND,
        "m" => 60 * NANOS_PER_SECOND,
        "h" => 3_600 * NANOS_PER_SECOND,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits = |text: &str| {
        if text.is_empty() {
            Some(0)
        } else {
            text.parse::<u64>().ok()
        }
    };
    let whole = digits(whole)?.checked_mul(nanos_each)?;
    // More digits than nanoseconds have say nothing.
    let fraction = fraction.get(..fraction.len().min(9))?;
    let scale = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = u128::from(digits(fraction)?) * u128::from(nanos_each) / u128::from(scale);
    Some(Duration::from_nanos(
        whole.checked_add(u64::try_from(part).ok()?)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanos) in [
            ("0", 0),
            ("0s", 0),
            ("30s", 30_000_000_000),
            ("+5m", 300_000_000_000),
            ("1h2m3s", 3_723_000_000_000),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("2h22m", 8_520_000_000_000),
            ("250ms", 250_000_000),
            ("1µs", 1_000),
            ("0.3333333333333s", 333_333_333),
        ] {
            assert_eq!(parse(text), Some(Duration::from_nanos(nanos)), "{text}");
        }
        for text in [
            "",
            "+",
            "5",
            "s",
            ".s",
            "-1s",
            "1 s",
            "1d",
            "1.2.3s",
            "1e3s",
            "99999999999h",
            "1s2",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
