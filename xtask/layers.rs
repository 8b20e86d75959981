//! The crate graph as a golden file: an arrow between rooms is a decision.

use crate::run::{capture, cargo, root};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Write the present graph to xtask/layers.txt
    #[arg(long)]
    bless: bool,
}

pub(crate) fn layers(args: &Args) -> Result<()> {
    let metadata = metadata(false)?;
    let actual = render(&graph(&metadata)?);
    let golden = root().join("xtask/layers.txt");
    if args.bless {
        return std::fs::write(&golden, actual)
            .with_context(|| format!("could not write {}", golden.display()));
    }
    let expected = std::fs::read_to_string(&golden).with_context(|| {
        format!(
            "could not read {} (cargo xtask layers --bless writes it)",
            golden.display()
        )
    })?;
    let differences = difference(&expected, &actual);
    if !differences.is_empty() {
        bail!(
            "the crate graph differs from xtask/layers.txt:\n{differences}\
             An arrow between rooms is decided in ARCHITECTURE.md; then run `cargo xtask layers --bless`."
        );
    }
    Ok(())
}

/// `cargo metadata`, with or without the dependencies' own entries.
pub(crate) fn metadata(with_dependencies: bool) -> Result<Value> {
    let mut command = cargo(&["metadata", "--format-version", "1", "--locked"]);
    if !with_dependencies {
        command.arg("--no-deps");
    }
    serde_json::from_str(&capture(&mut command)?).context("cargo metadata is not JSON")
}

type Graph = BTreeMap<String, BTreeSet<String>>;

/// Room -> rooms it is linked with in a shipped build (dev-dependencies are
/// no arrows: a test may look at more than its room).
fn graph(metadata: &Value) -> Result<Graph> {
    let packages = metadata["packages"]
        .as_array()
        .context("no packages in cargo metadata")?;
    let names: BTreeSet<&str> = packages
        .iter()
        .filter_map(|package| package["name"].as_str())
        .collect();
    let mut graph = Graph::new();
    for package in packages {
        let name = package["name"].as_str().context("a package without a name")?;
        let arrows = package["dependencies"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let targets = arrows
            .iter()
            .filter(|dependency| dependency["kind"] != "dev")
            .filter_map(|dependency| dependency["name"].as_str())
            .filter(|target| names.contains(target))
            .map(str::to_owned);
        graph.insert(name.to_owned(), targets.collect());
    }
    Ok(graph)
}

fn render(graph: &Graph) -> String {
    let mut text = String::from("# room -> rooms it links; written by `cargo xtask layers --bless`\n");
    for (room, targets) in graph {
        let targets: Vec<_> = targets.iter().map(String::as_str).collect();
        let _ = writeln!(
            text,
            "{room} -> {}",
            if targets.is_empty() {
                "-".into()
            } else {
                targets.join(" ")
            }
        );
    }
    text
}

fn difference(expected: &str, actual: &str) -> String {
    let expected: BTreeSet<_> = expected.lines().collect();
    let actual: BTreeSet<_> = actual.lines().collect();
    let gone = expected.difference(&actual).map(|line| format!("  - {line}\n"));
    let new = actual.difference(&expected).map(|line| format!("  + {line}\n"));
    gone.chain(new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn dev_dependencies_and_foreign_crates_are_no_arrows() {
        let metadata = json!({"packages": [
            {"name": "a", "dependencies": [
                {"name": "b", "kind": null}, {"name": "c", "kind": "dev"}, {"name": "serde", "kind": null}]},
            {"name": "b", "dependencies": []},
            {"name": "c", "dependencies": []},
        ]});
        let text = render(&graph(&metadata).unwrap());
        assert!(text.contains("a -> b\n") && text.contains("b -> -\n"), "{text}");
        assert_eq!(difference(&text, &text), "");
        assert_eq!(difference("a -> b\n", "a -> c\n"), "  - a -> b\n  + a -> c\n");
    }
}
