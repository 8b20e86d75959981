//! `docs/api-surface.md` names tests; each must be there.

use std::path::Path;

/// `(file, function)` of each name in backticks such as `api/auth::one` or `apiserver/tests/auth::{one, two}`.
fn named(document: &str) -> Vec<(String, String)> {
    let words = document.split('`').skip(1).step_by(2);
    let names = words.filter_map(|word| word.split_once("::"));
    names
        .flat_map(|(module, functions)| {
            let (room, _) = module.split_once('/').expect("a room before the module");
            let above = if ["api", "cluster"].contains(&room) {
                "tests"
            } else {
                "src"
            };
            let file = format!("{above}/{module}.rs");
            let functions = functions.trim_matches(['{', '}']).split(", ");
            functions.map(move |function| (file.clone(), function.to_owned()))
        })
        .collect()
}

#[test]
fn every_test_that_is_named_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the repository");
    let document = std::fs::read_to_string(root.join("docs/api-surface.md")).expect("the document");
    let names = named(&document);
    assert!(names.len() > 200, "{}", names.len());
    let missing: Vec<_> = names
        .iter()
        .filter(|(file, function)| {
            let source = std::fs::read_to_string(root.join(file)).unwrap_or_default();
            !source.contains(&format!("fn {function}("))
        })
        .collect();
    assert!(missing.is_empty(), "named, but not there: {missing:#?}");
}
