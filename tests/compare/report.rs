//! Differences counted, grouped and printed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::sync::LazyLock;

use anyhow::{Context as _, Result};
use regex::Regex;

use crate::ask::Answer;
use crate::normal::differences;
use crate::script::Case;

/// A line of `known.txt`: a regular expression for `<name of the case> | <line>`, then ` # ` and why.
struct Known {
    line: Regex,
    reason: &'static str,
    met: usize,
}

/// One way in which answers differ.
#[derive(Default)]
struct Group {
    /// As the first case shows it, and the codes of that one: ours, kube-apiserver's.
    line: String,
    codes: (u16, u16),
    names: Vec<String>,
}

pub(crate) struct Report {
    known: Vec<Known>,
    compared: usize,
    /// Cases that differ only in what is known.
    excused: usize,
    differ: usize,
    /// By what the lines of different cases have in common.
    groups: BTreeMap<String, Group>,
    /// Gets every case that differs, with its lines.
    every: Option<File>,
}

/// Longest line printed, in characters.
const WIDTH: usize = 400;

impl Report {
    pub(crate) fn new(known: &'static str, every: Option<File>) -> Result<Report> {
        let lines = known
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let known = lines.map(|line| {
            let (pattern, reason) = line
                .rsplit_once(" # ")
                .with_context(|| format!("known.txt gives no reason: {line}"))?;
            let line = Regex::new(pattern.trim()).with_context(|| format!("known.txt: {line}"))?;
            Ok(Known { line, reason, met: 0 })
        });
        Ok(Report {
            known: known.collect::<Result<_>>()?,
            compared: 0,
            excused: 0,
            differ: 0,
            groups: BTreeMap::new(),
            every,
        })
    }

    /// # Errors
    /// Of the file that gets every difference.
    pub(crate) fn add(&mut self, case: &Case, ours: &Answer, theirs: &Answer) -> Result<()> {
        self.compared += 1;
        let mut lines = differences(ours, theirs);
        let before = lines.len();
        lines.retain(|line| {
            let whole = format!("{} | {line}", case.name);
            let known = self.known.iter_mut().find(|known| known.line.is_match(&whole));
            if let Some(known) = known {
                known.met += 1;
                return false;
            }
            true
        });
        if lines.is_empty() {
            self.excused += usize::from(before > 0);
            return Ok(());
        }
        self.differ += 1;
        if let Some(file) = &mut self.every {
            let lines = lines.join("\n    ");
            writeln!(file, "{} | {} {}\n    {lines}", case.name, ours.code, theirs.code)?;
        }
        for line in lines {
            let group = self.groups.entry(signature(&line)).or_default();
            if group.names.is_empty() {
                group.line = line;
                group.codes = (ours.code, theirs.code);
            }
            group.names.push(case.name.clone());
        }
        Ok(())
    }

    /// Whether nothing was compared.
    pub(crate) fn is_empty(&self) -> bool {
        self.compared == 0
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.groups.is_empty()
    }

    pub(crate) fn text(&self, examples: usize) -> String {
        let mut out = String::new();
        let mut groups: Vec<&Group> = self.groups.values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.names.len()));
        for group in &groups {
            let (ours, theirs) = group.codes;
            let line: String = group.line.chars().take(WIDTH).collect();
            let _ = writeln!(out, "{:5} x {ours} {theirs}  {line}", group.names.len());
            for name in group.names.iter().take(examples) {
                let _ = writeln!(out, "            {name}");
            }
        }
        for known in &self.known {
            let _ = writeln!(out, "known, {} times: {}", known.met, known.reason);
        }
        let _ = writeln!(out, "{}", self.summary());
        out
    }

    pub(crate) fn summary(&self) -> String {
        format!(
            "{} requests compared; {} answers differ, in {} ways; {} more as known.txt says",
            self.compared,
            self.differ,
            self.groups.len(),
            self.excused
        )
    }
}

/// What the same difference says in different cases: without where the pod template lies, indices,
/// quoted values and numbers.
fn signature(line: &str) -> String {
    static VARIES: LazyLock<Regex> = LazyLock::new(|| {
        let places = r"spec\.jobTemplate\.spec\.template\.|spec\.template\.|\btemplate\.";
        let values = r#"\[\d+\]|"(?:[^"\\]|\\.)*"|\b\d+\b"#;
        Regex::new(&format!("{places}|{values}")).expect("a regular expression")
    });
    VARIES.replace_all(line, "").into_owned()
}
