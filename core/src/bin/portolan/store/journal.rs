//! What was accepted, on disk: a log of batches, each one line, each with its checksum.
//!
//! A batch is in force once its line is on the disk, and not before; a line that is cut short by a crash never was.
//! When most of the log is history it is written anew beside itself and moved into place.

use portolan::packet::crc32c;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The log's name in its directory, and what it is called while it is written anew.
const NAME: &str = "log";
const DRAFT: &str = "log.new";

/// A log shorter than this is not worth writing anew, in bytes.
const SHORT: u64 = 1 << 20;

/// One entry of a batch: a key, and its value from now on; without one it is gone.
pub(crate) type Entry = (String, Option<String>);

/// Values by key, on disk.
#[derive(Debug)]
pub(crate) struct Journal {
    directory: PathBuf,
    log: File,
    live: BTreeMap<String, String>,
    live_bytes: u64,
    length: u64,
}

impl Journal {
    /// Opens the log in a directory, or begins one.
    ///
    /// # Errors
    ///
    /// If the disk says no, or if a line that others follow is damaged: then what it said is not known, and neither
    /// is what it meant for those that follow.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let path = directory.join(NAME);
        let created = !path.try_exists()?;
        let log = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?;
        if created {
            sync_directory(directory)?;
        }
        let mut journal = Self {
            directory: directory.to_owned(),
            log,
            live: BTreeMap::new(),
            live_bytes: 0,
            length: 0,
        };
        journal.load(&path)?;
        Ok(journal)
    }

    fn load(&mut self, path: &Path) -> io::Result<()> {
        let mut bytes = Vec::new();
        self.log.read_to_end(&mut bytes)?;
        let mut rest = bytes.as_slice();
        let mut number = 0_u64;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            number += 1;
            let (line, after) = rest.split_at(end + 1);
            match batch(line) {
                Some(entries) => self.note(entries),
                // A crash can leave more than a part of the last line: whole blocks that were never written.
                None if after.iter().all(|byte| *byte == 0 || *byte == b'\n') => break,
                None => {
                    let rule = format!(
                        "{}:{number} is damaged; move the file away to begin with the manifests alone",
                        path.display()
                    );
                    return Err(io::Error::new(ErrorKind::InvalidData, rule));
                }
            }
            self.length += line.len() as u64;
            rest = after;
        }
        if !rest.is_empty() {
            // A batch that was never acknowledged.
            self.log.set_len(self.length)?;
            self.log.sync_data()?;
        }
        self.log.seek(SeekFrom::Start(self.length)).map(drop)
    }

    /// Everything there is.
    pub(crate) const fn live(&self) -> &BTreeMap<String, String> {
        &self.live
    }

    /// Makes a batch durable: all of it, or on an error nothing. Entries that change nothing are left out.
    pub(crate) fn commit(&mut self, mut entries: Vec<Entry>) -> io::Result<()> {
        entries.retain(|(key, value)| self.live.get(key) != value.as_ref());
        if entries.is_empty() {
            return Ok(());
        }
        let line = line(&entries)?;
        let written = self
            .log
            .write_all(&line)
            .and_then(|()| self.log.sync_data());
        if let Err(error) = written {
            // Half a line must not stand before the next one.
            self.log.set_len(self.length)?;
            self.log.seek(SeekFrom::Start(self.length))?;
            return Err(error);
        }
        self.length += line.len() as u64;
        self.note(entries);
        if self.length > SHORT && self.length / 4 > self.live_bytes {
            self.rewrite()?;
        }
        Ok(())
    }

    fn note(&mut self, entries: Vec<Entry>) {
        for (key, value) in entries {
            let size = |key: &str, value: &str| (key.len() + value.len()) as u64;
            if let Some(value) = &value {
                self.live_bytes += size(&key, value);
            }
            let old = match value {
                Some(value) => self.live.insert(key.clone(), value),
                None => self.live.remove(&key),
            };
            if let Some(old) = old {
                self.live_bytes = self.live_bytes.saturating_sub(size(&key, &old));
            }
        }
    }

    /// Writes what is live as one batch into a new log, which then takes the old one's place.
    fn rewrite(&mut self) -> io::Result<()> {
        let live = self.live.iter();
        let entries: Vec<Entry> = live
            .map(|(key, value)| (key.clone(), Some(value.clone())))
            .collect();
        let line = line(&entries)?;
        let draft = self.directory.join(DRAFT);
        let mut log = File::create(&draft)?;
        log.write_all(&line)?;
        log.sync_all()?;
        std::fs::rename(&draft, self.directory.join(NAME))?;
        sync_directory(&self.directory)?;
        self.log = log;
        self.length = line.len() as u64;
        Ok(())
    }
}

/// `checksum json\n`.
fn line(entries: &[Entry]) -> io::Result<Vec<u8>> {
    let json = serde_json::to_string(entries)?;
    Ok(format!("{:08x} {json}\n", crc32c(json.as_bytes())).into_bytes())
}

fn batch(line: &[u8]) -> Option<Vec<Entry>> {
    let line = line.strip_suffix(b"\n")?;
    let (checksum, json) = line.split_at_checked(9)?;
    let checksum = str::from_utf8(checksum.strip_suffix(b" ")?).ok()?;
    let checksum = u32::from_str_radix(checksum, 16).ok()?;
    (crc32c(json) == checksum).then_some(())?;
    serde_json::from_slice(json).ok()
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Writes a whole file so that it is either the old one or the new one, whenever the power goes.
pub(crate) fn write_durably(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // The watcher of manifests leaves names with a dot in front alone.
    let draft = directory.join(format!(".{name}.new"));
    let mut file = File::create(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    sync_directory(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of a test's own.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let name = format!("portolan-journal-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&path).expect("a directory");
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn set(key: &str, value: &str) -> Entry {
        (key.to_owned(), Some(value.to_owned()))
    }

    fn contents(directory: &Path) -> Vec<(String, String)> {
        let journal = Journal::open(directory).expect("a journal");
        journal.live().clone().into_iter().collect()
    }

    #[test]
    fn what_was_committed_is_there_again_and_what_was_deleted_is_not() {
        let scratch = Scratch::new("again");
        let mut journal = Journal::open(&scratch.0).expect("a journal");
        journal
            .commit(vec![set("a", "1"), set("b", "2\n3")])
            .expect("committed");
        journal
            .commit(vec![("a".to_owned(), None), set("c", "4")])
            .expect("committed");
        drop(journal);
        let expected = [("b", "2\n3"), ("c", "4")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(contents(&scratch.0), expected);
    }

    #[test]
    fn a_log_cut_anywhere_holds_whole_batches_only() {
        let scratch = Scratch::new("cut");
        let mut journal = Journal::open(&scratch.0).expect("a journal");
        for number in 0..5 {
            let value = number.to_string();
            journal
                .commit(vec![set("x", &value), set("y", &value)])
                .expect("committed");
        }
        drop(journal);
        let whole = std::fs::read(scratch.0.join(NAME)).expect("a log");
        let mut seen = 0;
        for cut in 0..=whole.len() {
            for garbage in [&b""[..], &[0; 9]] {
                let torn = [&whole[..cut], garbage].concat();
                std::fs::write(scratch.0.join(NAME), torn).expect("written");
                let held = contents(&scratch.0);
                let values: Vec<_> = held.iter().map(|(_, value)| value).collect();
                assert!(
                    values.windows(2).all(|pair| pair[0] == pair[1]),
                    "cut at {cut}: {held:?}"
                );
                seen = seen.max(held.len());
            }
        }
        assert_eq!(seen, 2);
    }

    #[test]
    fn a_damaged_line_before_others_is_an_error_and_not_a_gap() {
        let scratch = Scratch::new("damage");
        let mut journal = Journal::open(&scratch.0).expect("a journal");
        journal.commit(vec![set("a", "1")]).expect("committed");
        journal.commit(vec![set("b", "2")]).expect("committed");
        drop(journal);
        let mut bytes = std::fs::read(scratch.0.join(NAME)).expect("a log");
        bytes[12] ^= 1;
        std::fs::write(scratch.0.join(NAME), bytes).expect("written");
        let error = Journal::open(&scratch.0).expect_err("damage");
        assert!(error.to_string().contains("log:1 is damaged"), "{error}");
    }

    #[test]
    fn history_is_dropped_and_nothing_else() {
        let scratch = Scratch::new("history");
        let mut journal = Journal::open(&scratch.0).expect("a journal");
        journal.commit(vec![set("kept", "1")]).expect("committed");
        let long = "x".repeat(100_000);
        for number in 0..40 {
            journal
                .commit(vec![set("x", &format!("{number}{long}"))])
                .expect("committed");
        }
        drop(journal);
        let length = std::fs::metadata(scratch.0.join(NAME))
            .expect("a log")
            .len();
        assert!(length < 2 * SHORT, "{length}");
        let held = contents(&scratch.0);
        assert_eq!(held.len(), 2);
        assert!(held[1].1.starts_with("39x"));
    }
}
