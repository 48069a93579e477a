//! Prometheus' text exposition format, version 0.0.4.

use alloc::string::String;
use core::fmt::{self, Display, Write};
use core::time::Duration;

/// What a metric's numbers mean over time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Type {
    Counter,
    Gauge,
    Histogram,
}

/// Metric families, written one after another: [`Text::family`], then its samples.
#[derive(Debug, Default)]
pub(super) struct Text {
    out: String,
    family: &'static str,
}

impl Text {
    /// Begins a family. `help` is one line of ours.
    pub(super) fn family(&mut self, name: &'static str, kind: Type, help: &str) {
        self.family = name;
        let kind = match kind {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
        };
        self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// One sample of the family.
    pub(super) fn sample(&mut self, labels: &[(&str, &dyn Display)], value: impl Display) {
        self.suffixed("", labels, value);
    }

    /// One sample whose name is the family's and something more (`_bucket`, `_sum`, `_count`).
    pub(super) fn suffixed(
        &mut self,
        suffix: &str,
        labels: &[(&str, &dyn Display)],
        value: impl Display,
    ) {
        let family = self.family;
        self.put(format_args!("{family}{suffix}"));
        let mut separator = "{";
        for (name, label) in labels {
            self.put(format_args!("{separator}{name}=\"{}\"", Escaped(label)));
            separator = ",";
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        self.put(format_args!(" {value}\n"));
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    fn put(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.out.write_fmt(text);
    }
}

/// A label's value: `\`, `"` and line feeds are escaped.
struct Escaped<'value>(&'value dyn Display);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Escaping<'f, 'g>(&'f mut fmt::Formatter<'g>);
        impl Write for Escaping<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                for letter in text.chars() {
                    match letter {
                        '\\' => self.0.write_str("\\\\")?,
                        '"' => self.0.write_str("\\\"")?,
                        '\n' => self.0.write_str("\\n")?,
                        other => self.0.write_char(other)?,
                    }
                }
                Ok(())
            }
        }
        write!(Escaping(f), "{}", self.0)
    }
}

/// A duration in seconds, as a decimal without an exponent.
pub(super) struct Seconds(pub(super) Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_secs())?;
        let mut nanos = self.0.subsec_nanos();
        if nanos > 0 {
            let mut digits = 9;
            while nanos.is_multiple_of(10) {
                nanos /= 10;
                digits -= 1;
            }
            write!(f, ".{nanos:0digits$}")?;
        }
        Ok(())
    }
}
