//! Every dependency's licence must be one that a permissively licensed static
//! binary may carry.

use crate::layers;
use anyhow::{Context, Result, bail};

const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "MPL-2.0+",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

pub(crate) fn check() -> Result<()> {
    let metadata = layers::metadata(true)?;
    let packages = metadata["packages"]
        .as_array()
        .context("no packages in cargo metadata")?;
    let refused: Vec<String> = packages
        .iter()
        .filter(|package| !package["license"].as_str().is_some_and(allowed))
        .map(|package| {
            let licence = package["license"].as_str().unwrap_or("no licence named");
            format!("  {} {}: {licence}", package["name"], package["version"])
        })
        .collect();
    if !refused.is_empty() {
        bail!(
            "dependencies under licences that xtask/licences.rs does not allow:\n{}",
            refused.join("\n")
        );
    }
    Ok(())
}

/// Whether an SPDX expression can be met with allowed licences alone.
/// Handles what crates write: OR, AND, parentheses and the old slash for OR.
fn allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let mut depth = 0usize;
    let mut split = |word: &str| {
        let mut parts = vec![String::new()];
        for token in expression
            .replace('(', " ( ")
            .replace(')', " ) ")
            .split_whitespace()
        {
            match token {
                "(" => depth += 1,
                ")" => depth = depth.saturating_sub(1),
                _ => {}
            }
            if token == word && depth == 0 {
                parts.push(String::new());
            } else {
                let last = parts.last_mut().expect("starts with one part");
                if !last.is_empty() {
                    last.push(' ');
                }
                last.push_str(token);
            }
        }
        parts
    };
    let alternatives = split("OR");
    if alternatives.len() > 1 {
        return alternatives.iter().any(|part| allowed(part));
    }
    let all = split("AND");
    if all.len() > 1 {
        return all.iter().all(|part| allowed(part));
    }
    let single = alternatives[0].trim();
    match single.strip_prefix("( ").and_then(|rest| rest.strip_suffix(" )")) {
        Some(inner) => allowed(inner),
        None => ALLOWED.contains(&single),
    }
}

#[cfg(test)]
mod tests {
    use super::allowed;

    #[test]
    fn spdx_expressions() {
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "(MIT OR GPL-2.0) AND Unicode-3.0",
            "( MIT )",
        ] {
            assert!(allowed(good), "{good}");
        }
        for bad in ["GPL-3.0", "MIT AND GPL-3.0", "(GPL-2.0 OR LGPL-3.0) AND MIT", ""] {
            assert!(!allowed(bad), "{bad}");
        }
    }
}
