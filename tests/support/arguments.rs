//! Arguments of the programs that chores start: each a name and its value.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

/// The values by their names, dashes included.
///
/// # Errors
/// When the last name has none.
pub fn named() -> Result<BTreeMap<String, String>> {
    let mut values = BTreeMap::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments
            .next()
            .with_context(|| format!("{name} wants a value"))?;
        values.insert(name, value);
    }
    Ok(values)
}
