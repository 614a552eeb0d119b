//! Which alarms were raised, so that a restart or a reorg does not raise them again.
//!
//! A file of lines, one alarm each, that only grows: some dozens for each dispute.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

/// The alarms that were raised.
#[derive(Debug)]
pub struct Told {
    file: File,
    lines: BTreeSet<String>,
}

impl Told {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// When it cannot be read or made.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let options = || OpenOptions::new().create(true).append(true).read(true).open(path);
        let mut file = options()?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        // A crash may have cut the last line: what it said is said again.
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        file.set_len(whole as u64)?;
        let lines = String::from_utf8_lossy(&text[..whole]);
        Ok(Self {
            lines: lines.lines().map(str::to_owned).collect(),
            file,
        })
    }

    /// Whether an alarm was raised.
    pub fn contains(&self, line: &str) -> bool {
        self.lines.contains(line)
    }

    /// Notes alarms that were raised, on disk.
    ///
    /// # Errors
    /// When the file cannot be written; they may be raised again then.
    pub fn note(&mut self, lines: &[String]) -> std::io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut text = lines.join("\n");
        text.push('\n');
        self.file.write_all(text.as_bytes())?;
        self.file.sync_data()?;
        self.lines.extend(lines.iter().cloned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_and_a_cut_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("told");
        let mut told = Told::open(&path).unwrap();
        told.note(&["one".into(), "two".into()]).unwrap();
        assert!(told.contains("one") && !told.contains("three"));
        drop(told);
        std::fs::write(&path, "one\ntwo\nthr").unwrap();
        let mut told = Told::open(&path).unwrap();
        assert!(told.contains("two") && !told.contains("thr"));
        told.note(&["three".into()]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\n");
    }
}
