//! Assembles `pause`: a Rust toolchain on Linux has a C compiler for linking.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let source = "pause/pause.S";
    println!("cargo:rerun-if-changed={source}");
    let target = variable("TARGET");
    let by_target = format!("CC_{}", target.replace('-', "_"));
    println!("cargo:rerun-if-env-changed={by_target}");
    println!("cargo:rerun-if-env-changed=CC");
    let cross = target != variable("HOST");
    let compiler = [variable(&by_target), variable("CC")]
        .into_iter()
        .find(|c| !c.is_empty())
        .unwrap_or_else(|| {
            let architecture = target.split('-').next().unwrap_or_default();
            if cross {
                format!("{architecture}-linux-gnu-gcc")
            } else {
                "cc".to_owned()
            }
        });
    let out = PathBuf::from(variable("OUT_DIR")).join("pause");
    let status = Command::new(&compiler)
        .args([
            "-nostdlib",
            "-static",
            "-no-pie",
            "-Wl,--build-id=none",
            "-Wl,-z,noseparate-code",
            "-s",
            "-o",
        ])
        .arg(&out)
        .arg(source)
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{compiler} cannot assemble {source}: {status}"),
        Err(error) => panic!("cannot run {compiler} ({error}); install a C compiler or set {by_target}"),
    }
}
