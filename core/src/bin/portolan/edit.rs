//! `portolan edit`: an object of a store in the user's editor.

use crate::CommandError;
use crate::apply::{StoreArguments, print};
use crate::control::Request;
use crate::store::{Line, kind_named};
use clap::Args;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, ExitCode};

/// What stands above an object that is edited.
const HEAD: &str = "# Edit the object below. Lines that begin with # are left out; an empty file changes nothing.\n";

/// What `portolan edit` is told.
#[derive(Debug, Args)]
pub(crate) struct EditArguments {
    /// The object's kind, such as service
    kind: String,
    /// Its name
    name: String,
    /// Its namespace
    #[arg(short, long, default_value = "default", value_name = "NAMESPACE")]
    namespace: String,
    #[command(flatten)]
    store: StoreArguments,
}

/// Edits until the object is sound, or until nothing is changed any more.
pub(crate) fn edit(arguments: &EditArguments) -> Result<ExitCode, CommandError> {
    let kind = kind_named(&arguments.kind)?;
    let request = Request::Objects {
        kind: kind.plural().to_owned(),
    };
    let Value::Array(objects) = arguments.store.ask(&request)? else {
        return Err("the answer is no list of objects".into());
    };
    let wanted = |object: &&Value| {
        let metadata = &object["metadata"];
        metadata["name"] == arguments.name.as_str()
            && (!kind.is_namespaced() || metadata["namespace"] == arguments.namespace.as_str())
    };
    let Some(object) = objects.iter().find(wanted) else {
        return Err(format!("{} {:?} not found", kind.plural(), arguments.name).into());
    };
    let path = std::env::temp_dir().join(format!("portolan-edit-{}.yaml", std::process::id()));
    let mut text = format!("{HEAD}{}", serde_saphyr::to_string(object)?);
    loop {
        std::fs::write(&path, &text)?;
        open_editor(&path)?;
        let edited = std::fs::read_to_string(&path)?;
        if bare(&edited) == bare(&text) || bare(&edited).trim().is_empty() {
            std::fs::remove_file(&path)?;
            eprintln!("Edit cancelled, no changes made.");
            return Ok(ExitCode::SUCCESS);
        }
        let manifest = bare(&edited);
        let answer = arguments.store.ask(&Request::Apply {
            manifest: manifest.clone(),
        })?;
        let lines: Vec<Line> = serde_json::from_value(answer)?;
        let errors: Vec<&str> = lines
            .iter()
            .filter_map(|line| line.error.as_deref())
            .collect();
        if errors.is_empty() {
            std::fs::remove_file(&path)?;
            return print(&lines);
        }
        let told = errors.iter().flat_map(|error| error.lines());
        let told: String = told.map(|line| format!("# {line}\n")).collect();
        text = format!("{HEAD}{told}{manifest}");
    }
}

/// The text without comments of whole lines.
fn bare(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| format!("{line}\n")).collect()
}

fn open_editor(path: &Path) -> Result<(), CommandError> {
    let editor = std::env::var("EDITOR").unwrap_or_else(|_| "vi".to_owned());
    // The variable may hold arguments, as in `code --wait`.
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let status = Command::new(program)
        .args(words)
        .arg(path)
        .status()
        .map_err(|error| format!("{program}: {error}; set EDITOR"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{program} gave up; your text is in {}", path.display()).into())
    }
}
