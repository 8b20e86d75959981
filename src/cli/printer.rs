//! The one place that writes to the user: data to standard output, everything
//! else to standard error.

use std::io::Write as _;
use std::process::ExitCode;

use serde::Serialize;

use crate::exit::Failure;

/// Data, as it is, with a newline.
pub(crate) fn data(text: &str) {
    // Whoever reads may have gone; that is not our failure.
    let _ = writeln!(std::io::stdout().lock(), "{}", text.trim_end_matches('\n'));
}

/// Data as JSON.
pub(crate) fn json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => data(&text),
        Err(error) => note(&format!("cannot write JSON: {error}")),
    }
}

/// Data as YAML.
pub(crate) fn yaml(value: &impl Serialize) {
    match serde_saphyr::to_string(value) {
        Ok(text) => data(&text),
        Err(error) => note(&format!("cannot write YAML: {error}")),
    }
}

/// Rows below headings, in columns.
pub(crate) fn table(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    table.set_header(headings);
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    data(&lines.join("\n"));
}

/// A line for the user.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

pub(crate) fn warning(text: &str) {
    note(&format!(
        "{} {text}",
        console::style("warning:").for_stderr().yellow().bold()
    ));
}

/// Prints the chain once, then the hint.
pub(crate) fn failure(failure: &Failure) -> ExitCode {
    let mut lines = failure.chain.iter();
    if let Some(first) = lines.next() {
        note(&format!(
            "{} {first}",
            console::style("error:").for_stderr().red().bold()
        ));
    }
    for cause in lines {
        note(&format!("  caused by: {}", cause.replace('\n', "\n  ")));
    }
    if let Some(hint) = &failure.hint {
        note(&format!(
            "{} {hint}",
            console::style("hint:").for_stderr().cyan().bold()
        ));
    }
    failure.status.into()
}

/// How a line of the log is written: in words, or as an object in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Logs go to standard error, more with each `-v`. Without one, a command that ends says what
/// goes wrong as an error and logs nothing (`quiet`): a client that tries again is no news.
/// `RKIND_LOG` says it in `tracing`'s own words.
pub(crate) fn start_log(verbose: u8, quiet: &str, form: LogFormat) {
    let level = match verbose {
        0 => quiet,
        1 => "rkind=info,rkind_cluster=debug,rkind_driver_docker=debug,warn",
        2 => "debug",
        _ => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("RKIND_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(console::colors_enabled_stderr())
        .with_writer(std::io::stderr);
    // Somebody else's log stays.
    let _ = match form {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
}
