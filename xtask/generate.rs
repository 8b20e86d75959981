//! `cargo xtask generate`: the schema table, written from upstream's Go types by the program in `generate/`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

const TABLE: &str = "src/apimachinery/schema/v1.35.txt";

/// Writes the schema table anew.
pub(crate) fn run() -> Result<()> {
    let path = root().join(TABLE);
    std::fs::write(&path, table()?).with_context(|| format!("write {}", path.display()))
}

/// Fails when the committed table is not what the generator writes today.
pub(crate) fn check() -> Result<()> {
    let path = root().join(TABLE);
    let committed = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    if committed != table()? {
        bail!("{TABLE} is out of date: run `cargo xtask generate` and commit it");
    }
    Ok(())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
}

/// Runs the generator; it needs Go and, the first time, the Go module proxy.
fn table() -> Result<Vec<u8>> {
    let output = Command::new("go")
        .args(["run", "."])
        .current_dir(root().join("xtask/generate"))
        .output()
        .context("run go (1.25 or newer must be installed to generate the schema)")?;
    if !output.status.success() {
        bail!(
            "the schema generator failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(output.stdout)
}
