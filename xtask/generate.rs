//! `cargo xtask generate`: the schema table and the texts beside it, written from upstream's Go types by the
//! program in `generate/`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::test::workspace_tests;

const TABLE: &str = "src/apimachinery/schema/v1.35.txt";
const TEXTS: &str = "src/apimachinery/schema/v1.35.texts.z";

/// Writes the schema table and the texts anew.
pub(crate) fn run() -> Result<()> {
    for (file, bytes) in [(TABLE, table()?), (TEXTS, go(&["run", ".", "texts"])?)] {
        let path = root().join(file);
        std::fs::write(&path, bytes).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// Fails when the committed table and texts are not what the generator writes today.
pub(crate) fn check() -> Result<()> {
    let path = root().join(TABLE);
    let committed = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    if committed != table()? {
        bail!("{TABLE} is out of date: run `cargo xtask generate` and commit it");
    }
    let texts = root().join(TEXTS);
    go(&["run", ".", "same-texts", &texts.to_string_lossy()])
        .with_context(|| format!("{TEXTS} is out of date: run `cargo xtask generate` and commit it"))?;
    let module = go(&["list", "-m", "-f", "{{.Dir}}", "k8s.io/api"])?;
    let data = Path::new(String::from_utf8_lossy(&module).trim()).join("testdata/HEAD");
    let status = workspace_tests(&["--quiet", "--test", "upstream"])
        .env("K8S_API_TESTDATA", data)
        .status()
        .context("run the test `upstream`")?;
    if !status.success() {
        bail!("the codecs do not agree with upstream's test data");
    }
    Ok(())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
}

/// The table as the generator writes it today.
fn table() -> Result<Vec<u8>> {
    go(&["run", "."])
}

/// Runs a command of Go beside the generator; the first time, it needs the Go module proxy.
fn go(args: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new("go")
        .args(args)
        .current_dir(root().join("xtask/generate"))
        .output()
        .context("run go (1.25 or newer must be installed to generate the schema)")?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("`go {}` failed: {}", args.join(" "), error.trim());
    }
    Ok(output.stdout)
}
