//! Through the `nft` program.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use super::{Firewall, Table, Transaction};
use crate::error::{Context, Error, Result};

/// Enough of an error message to act on: `nft` repeats the offending line,
/// which may be a megabyte of elements, with an equally long line of carets.
const MESSAGE: usize = 800;
const LINE: usize = 200;

/// Runs `nft` for every transaction, in the network namespace of the calling
/// thread.
#[derive(Debug, Clone)]
pub struct Process {
    program: String,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            program: "nft".to_owned(),
        }
    }
}

impl Process {
    /// With another program than the `nft` on the path.
    pub fn with_program(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
        }
    }

    fn run(&self, args: &[&str], input: &str) -> Result<String> {
        let line = || format!("{} {}", self.program, args.join(" "));
        let what = || format!("run `{}`", line());
        let mut child = Command::new(&self.program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context(what)?;
        let pipe = child.stdin.take();
        let output = std::thread::scope(|scope| {
            scope.spawn(move || {
                // A program that stops reading tells why on standard error.
                let _ = pipe.map(|mut pipe| pipe.write_all(input.as_bytes()));
            });
            child.wait_with_output()
        });
        let Output {
            status,
            stdout,
            stderr,
        } = output.context(what)?;
        if !status.success() {
            let output = shorten(&String::from_utf8_lossy(&stderr));
            return Err(Error::Command {
                program: line(),
                status,
                output,
            });
        }
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    }
}

fn shorten(text: &str) -> String {
    let mut short = String::new();
    for line in text
        .lines()
        .filter(|l| !l.trim_matches([' ', '^', '~']).is_empty())
    {
        if !short.is_empty() {
            short.push('\n');
        }
        match line.char_indices().nth(LINE) {
            Some((end, _)) => {
                short.push_str(&line[..end]);
                short.push_str(" ...");
            }
            None => short.push_str(line),
        }
        if short.len() > MESSAGE {
            break;
        }
    }
    short
}

impl Firewall for Process {
    fn commit(&self, transaction: &Transaction) -> Result<()> {
        if transaction.is_empty() {
            return Ok(());
        }
        self.run(&["-f", "-"], &transaction.to_text()).map(drop)
    }

    fn elements(&self, table: &Table, set: &str) -> Result<Vec<String>> {
        let text = self
            .run(
                &["-n", "list", "map", table.family.as_str(), &table.name, set],
                "",
            )
            .or_else(|e| {
                // A set isn't a map to `nft`.
                self.run(
                    &["-n", "list", "set", table.family.as_str(), &table.name, set],
                    "",
                )
                .map_err(|_| e)
            })?;
        Ok(parse_elements(&text))
    }

    fn has_table(&self, table: &Table) -> Result<bool> {
        let line = format!("table {} {}", table.family.as_str(), table.name);
        Ok(self.run(&["list", "tables"], "")?.lines().any(|l| l == line))
    }
}

/// The elements of a listing, counters and expiry dropped, blanks made single.
fn parse_elements(text: &str) -> Vec<String> {
    let Some((_, rest)) = text.split_once("elements = {") else {
        return Vec::new();
    };
    let Some((inside, _)) = rest.split_once('}') else {
        return Vec::new();
    };
    inside
        .split(',')
        .map(|element| {
            let words: Vec<&str> = element.split_whitespace().collect();
            let mut kept = Vec::new();
            let mut words = words.into_iter();
            while let Some(word) = words.next() {
                match word {
                    "timeout" | "expires" => drop(words.next()),
                    word => kept.push(word),
                }
            }
            kept.join(" ")
        })
        .filter(|e| !e.is_empty())
        .collect()
}

#[cfg(test)]
mod tests;
