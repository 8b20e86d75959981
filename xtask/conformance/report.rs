//! Ginkgo's report, counted by sig and area.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What became of an area's tests.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) passed: usize,
    pub(super) failures: Vec<Failure>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) name: String,
    /// The first line of what the test said.
    pub(super) message: String,
}

/// Areas by `(sig, area)`, of the tests that ran.
pub(super) type Areas = BTreeMap<(String, String), Area>;

/// # Errors
/// When the text is not a report of ginkgo's.
pub(super) fn read(report: &str) -> Result<Areas> {
    let suites: Vec<Suite> = serde_json::from_str(report).context("ginkgo's report")?;
    let mut areas = Areas::new();
    let specs = suites
        .into_iter()
        .flat_map(|suite| suite.spec_reports.unwrap_or_default());
    for spec in specs.filter(|spec| !matches!(spec.state.as_str(), "skipped" | "pending")) {
        let containers = spec.container_hierarchy_texts.unwrap_or_default();
        let of_suite = containers.is_empty();
        let key = containers.first().map_or_else(
            || ("suite".to_owned(), spec.leaf_node_type.clone()),
            |container| place(container),
        );
        if spec.state == "passed" {
            if !of_suite {
                areas.entry(key).or_default().passed += 1;
            }
            continue;
        }
        let message = spec.failure.map(|failure| failure.message).unwrap_or_default();
        areas.entry(key).or_default().failures.push(Failure {
            name: [containers, vec![spec.leaf_node_text]].concat().join(" "),
            message: format!("{}: {}", spec.state, message.lines().next().unwrap_or_default()),
        });
    }
    Ok(areas)
}

/// `[sig-x] Some area [Tag]` as `(x, Some area)`.
fn place(container: &str) -> (String, String) {
    let (sig, rest) = container
        .strip_prefix("[sig-")
        .and_then(|rest| rest.split_once(']'))
        .unwrap_or(("", container));
    let area = rest.split('[').next().unwrap_or_default().trim();
    (sig.to_owned(), area.to_owned())
}

/// In Markdown, with a line for each area and one for all.
pub(super) fn table(areas: &Areas) -> String {
    let mut text = "| sig | area | passed | failed |\n|---|---|---:|---:|\n".to_owned();
    let (mut passed, mut failed) = (0, 0);
    for ((sig, name), area) in areas {
        passed += area.passed;
        failed += area.failures.len();
        let _ = writeln!(
            text,
            "| {sig} | {name} | {} | {} |",
            area.passed,
            area.failures.len()
        );
    }
    let _ = writeln!(text, "| | all | {passed} | {failed} |");
    text
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Suite {
    spec_reports: Option<Vec<Spec>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    container_hierarchy_texts: Option<Vec<String>>,
    #[serde(default)]
    leaf_node_type: String,
    #[serde(default)]
    leaf_node_text: String,
    state: String,
    failure: Option<SpecFailure>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SpecFailure {
    #[serde(default)]
    message: String,
}

#[cfg(test)]
mod tests {
    use super::{Failure, read, table};

    #[test]
    fn tests_that_ran_are_counted_by_sig_and_area() {
        let report = r#"[{"SpecReports": [
            {"ContainerHierarchyTexts": null, "LeafNodeType": "SynchronizedBeforeSuite", "State": "passed"},
            {"ContainerHierarchyTexts": ["[sig-api-machinery] Watchers"], "LeafNodeType": "It",
             "LeafNodeText": "should observe", "State": "passed"},
            {"ContainerHierarchyTexts": ["[sig-api-machinery] Watchers"], "LeafNodeType": "It",
             "LeafNodeText": "should restart", "State": "failed",
             "Failure": {"Message": "no event\nand more"}},
            {"ContainerHierarchyTexts": ["[sig-auth] ServiceAccounts [Slow]"], "LeafNodeType": "It",
             "LeafNodeText": "should mount", "State": "timedout"},
            {"ContainerHierarchyTexts": ["[sig-node] Pods"], "LeafNodeType": "It", "State": "skipped"}
        ]}]"#;
        let areas = read(report).expect("it is a report");
        let watchers = &areas[&("api-machinery".to_owned(), "Watchers".to_owned())];
        assert_eq!(watchers.passed, 1);
        assert_eq!(
            watchers.failures,
            [Failure {
                name: "[sig-api-machinery] Watchers should restart".to_owned(),
                message: "failed: no event".to_owned(),
            }]
        );
        assert_eq!(
            table(&areas),
            "| sig | area | passed | failed |\n|---|---|---:|---:|\n\
             | api-machinery | Watchers | 1 | 1 |\n| auth | ServiceAccounts | 0 | 1 |\n| | all | 1 | 2 |\n"
        );
    }

    #[test]
    fn a_suite_that_could_not_be_set_up_is_a_failure() {
        let report = r#"[{"SpecReports": [{"LeafNodeType": "SynchronizedBeforeSuite", "State": "failed",
            "Failure": {"Message": "no nodes"}}]}]"#;
        let areas = read(report).expect("it is a report");
        assert_eq!(areas.values().map(|area| area.failures.len()).sum::<usize>(), 1);
    }
}
