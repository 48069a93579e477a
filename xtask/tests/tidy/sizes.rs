//! A file has at most 600 lines, a function at most 70: longer ones have a noun or a verb too many.
//! A test may have twice as many: its table of cases is data.

use super::sources::{self, Source};

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 70;
const TEST_LINES: usize = 140;

/// What was longer when the rule came: path and name, and how long it may be. Lines here may only
/// go away, and numbers only fall.
const LONGER_FILES: [(&str, usize); 1] = [("core/tests/workers.rs", 615)];
const LONGER_FUNCTIONS: [(&str, &str, usize); 3] = [
    ("core/src/dataplane/decide.rs", "decide", 82),
    ("core/src/packet/build/sample.rs", "samples", 88),
    ("core/src/packet/ipv4.rs", "parse", 77),
];

#[test]
fn no_file_is_longer_than_600_lines() {
    let mut broken = Vec::new();
    for source in sources::all() {
        let lines = source.text.lines().count();
        let exception = LONGER_FILES.iter().find(|(path, _)| *path == source.path);
        if lines > exception.map_or(FILE_LINES, |(_, allowed)| *allowed) {
            broken.push(format!("{}: {lines} lines", source.path));
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn no_function_is_longer_than_70_lines() {
    let mut broken = Vec::new();
    for source in sources::all() {
        let path = &source.path;
        let is_test = path.contains("/tests/") || path.ends_with("/tests.rs");
        let allowed = if is_test { TEST_LINES } else { FUNCTION_LINES };
        for Function { name, line, lines } in functions(&source) {
            let mut exceptions = LONGER_FUNCTIONS.iter();
            let exception =
                exceptions.find(|(path, function, _)| *path == source.path && *function == name);
            if lines > exception.map_or(allowed, |(_, _, allowed)| *allowed) {
                broken.push(format!("{}:{line}: {name}: {lines} lines", source.path));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

struct Function {
    name: String,
    line: usize,
    lines: usize,
}

/// Functions as rustfmt lays them out: from the line with `fn` to the closing brace that stands at
/// the same indentation.
fn functions(source: &Source) -> Vec<Function> {
    let lines: Vec<_> = source.text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else {
            continue;
        };
        let indentation = line.len() - line.trim_start().len();
        let end = format!("{}}}", " ".repeat(indentation));
        let rest = &lines[index..];
        let signature = rest
            .iter()
            .position(|later| later.ends_with(['{', ';', '}']))
            .unwrap_or(0);
        let ends_at = if rest[signature].ends_with('{') {
            rest.iter().position(|later| *later == end).unwrap_or(0)
        } else {
            signature
        };
        let lines = ends_at + 1;
        found.push(Function {
            name,
            line: index + 1,
            lines,
        });
    }
    found
}

fn function_name(line: &str) -> Option<String> {
    let mut words = line.trim_start().split(' ');
    loop {
        match words.next()? {
            "fn" => break,
            "pub" | "const" | "async" | "unsafe" | "extern" | "\"C\"" | "pub(crate)"
            | "pub(super)" => {}
            _ => return None,
        }
    }
    let name = words.next()?;
    name.split(['(', '<']).next().map(str::to_owned)
}

#[test]
fn a_declaration_ends_with_its_signature() {
    let text = "    fn f(\n        a: u8,\n    ) -> u8;\n\n    fn g() {}\n";
    let source = Source {
        path: String::new(),
        text: text.to_owned(),
    };
    let lines: Vec<_> = functions(&source)
        .iter()
        .map(|function| function.lines)
        .collect();
    assert_eq!(lines, [3, 1]);
}

#[test]
fn a_function_ends_at_the_brace_below_its_beginning() {
    let text = "impl A {\n    pub(crate) fn f(\n        a: u8,\n    ) -> u8 {\n        if a {\n        }\n    }\n}\n";
    let source = Source {
        path: String::new(),
        text: text.to_owned(),
    };
    let found = functions(&source);
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].name.as_str(), found[0].line, found[0].lines),
        ("f", 2, 6)
    );
}
