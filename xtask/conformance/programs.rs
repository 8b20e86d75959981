//! The suite, its runner and what its images run, built from the module beside this file.

use crate::run::{run, say};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the suite says of itself.
const VERSION: &str = "-s -w -X k8s.io/component-base/version.gitVersion=v1.35.0";

pub(super) struct Programs {
    pub(super) suite: PathBuf,
    pub(super) ginkgo: PathBuf,
    /// Programs for the images, by the name that the Dockerfile gives them.
    pub(super) contents: PathBuf,
}

/// Programs that images hold, static.
const CONTENTS: [(&str, &str); 4] = [
    ("agnhost", "k8s.io/kubernetes/test/images/agnhost"),
    ("nonewprivs", "k8s.io/kubernetes/test/images/nonewprivs"),
    ("sample-apiserver", "k8s.io/sample-apiserver"),
    ("etcd", "go.etcd.io/etcd/server/v3"),
];

/// Builds what the module's present state has not built yet.
pub(super) fn build(cache: &Path) -> Result<Programs> {
    let programs = Programs {
        suite: cache.join("e2e.test"),
        ginkgo: cache.join("ginkgo"),
        contents: cache.join("contents"),
    };
    let wanted = std::fs::read_to_string(module().join("go.mod"))?;
    let mark = cache.join("programs.mod");
    if std::fs::read_to_string(&mark).is_ok_and(|built| built == wanted) {
        return Ok(programs);
    }
    std::fs::create_dir_all(&programs.contents)?;
    say("building upstream's end-to-end tests (minutes, once)");
    go(
        &["test", "-vet=off", "-c", "-ldflags", VERSION, "-o"],
        &programs.suite,
        "k8s.io/kubernetes/test/e2e",
    )?;
    go(
        &["build", "-o"],
        &programs.ginkgo,
        "github.com/onsi/ginkgo/v2/ginkgo",
    )?;
    for (name, package) in CONTENTS {
        say(&format!("building {name}"));
        go(
            &["build", "-ldflags", VERSION, "-o"],
            &programs.contents.join(name),
            package,
        )?;
    }
    std::fs::write(mark, wanted)?;
    Ok(programs)
}

fn go(args: &[&str], output: &Path, package: &str) -> Result<()> {
    run(Command::new("go")
        .current_dir(module())
        .env("CGO_ENABLED", "0")
        .args(args)
        .arg(output)
        .arg(package))
    .context("Go 1.25 or newer builds upstream's tests")
}

/// References of the images by the name of their stage.
pub(super) fn image_references() -> Result<std::collections::BTreeMap<String, String>> {
    let mut list = Command::new("go");
    list.current_dir(module()).args(["run", "./images"]);
    serde_json::from_str(&crate::run::capture(&mut list)?).context("names of the suite's images")
}

/// The directory of a package of the suite's module, for files beside its sources.
pub(super) fn directory(package: &str) -> Result<PathBuf> {
    let mut list = Command::new("go");
    list.current_dir(module())
        .args(["list", "-m", "-f", "{{.Dir}}", package]);
    let directory = PathBuf::from(crate::run::capture(&mut list)?.trim());
    if !directory.is_dir() {
        bail!("the module {package} is not in Go's cache");
    }
    Ok(directory)
}

/// Where the module lies that pins the versions.
fn module() -> PathBuf {
    crate::run::root().join("xtask/conformance/suite")
}
