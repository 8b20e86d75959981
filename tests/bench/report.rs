//! The table.

use crate::load::Outcome;
use crate::measure::{Report, STEADY};

/// A row: what it is, a figure of a report, and its unit.
type Row<'a> = (String, Box<dyn Fn(&Report) -> f64 + 'a>, &'static str);

pub(crate) fn print(reports: &[Report]) {
    let mut rows: Vec<Row<'_>> = vec![
        ("start to ready".into(), Box::new(|r| r.ready_ms), "ms"),
        (
            "definition created to served, p50".into(),
            Box::new(|r| r.definition_p50_ms),
            "ms",
        ),
        (
            "definition created to served, longest".into(),
            Box::new(|r| r.definition_max_ms),
            "ms",
        ),
    ];
    type Series = fn(&Report) -> &Vec<(usize, Outcome)>;
    let series: [(&str, Series); 2] = [("create", |r| &r.creates), ("update", |r| &r.updates)];
    for (name, of) in series {
        for at in 0..reports[0].creates.len() {
            let clients = of(&reports[0])[at].0;
            let what = format!("{name} 2 KiB pods, {clients} clients");
            rows.push((what.clone(), Box::new(move |r| of(r)[at].1.per_second), "/s"));
            rows.push((
                format!("{what}, p99"),
                Box::new(move |r| of(r)[at].1.p99_ms),
                "ms",
            ));
            rows.push((
                format!("{what}, CPU of the server each"),
                Box::new(move |r| of(r)[at].1.server_us),
                "us",
            ));
            rows.push((
                format!("{what}, CPU of the clients each"),
                Box::new(move |r| of(r)[at].1.client_us),
                "us",
            ));
        }
    }
    type Load = fn(&Report) -> &Outcome;
    let loads: [(String, Load); 2] = [
        ("half load".into(), |r| &r.half_load),
        (format!("{STEADY} per second"), |r| &r.steady),
    ];
    for (load, of) in loads {
        rows.push((
            format!("create at {load}, p50"),
            Box::new(move |r| of(r).p50_ms),
            "ms",
        ));
        rows.push((
            format!("create at {load}, p99"),
            Box::new(move |r| of(r).p99_ms),
            "ms",
        ));
    }
    rows.push(("get, 16 clients".into(), Box::new(|r| r.gets.per_second), "/s"));
    rows.push(("get, p99".into(), Box::new(|r| r.gets.p99_ms), "ms"));
    rows.push((
        "get, CPU of the server each".into(),
        Box::new(|r| r.gets.server_us),
        "us",
    ));
    for (name, of) in [
        ("JSON", (|r| &r.list_json) as fn(&Report) -> &Outcome),
        ("protobuf", |r| &r.list_protobuf),
    ] {
        rows.push((
            format!("list 10,000 pods, {name}"),
            Box::new(move |r| of(r).p50_ms),
            "ms",
        ));
        rows.push((
            format!("list 10,000 pods, {name}"),
            Box::new(move |r| of(r).bytes_per_second / 1e6),
            "MB/s",
        ));
        rows.push((
            format!("list 10,000 pods, {name}, CPU of the server"),
            Box::new(move |r| of(r).server_us / 1e3),
            "ms",
        ));
    }
    rows.push((
        "1 write to 1,000 watchers, p50".into(),
        Box::new(|r| r.fan_out_p50_ms),
        "ms",
    ));
    rows.push((
        "1 write to 1,000 watchers, p99".into(),
        Box::new(|r| r.fan_out_p99_ms),
        "ms",
    ));
    rows.push((
        "the same, CPU time of the server".into(),
        Box::new(|r| r.fan_out_cpu_ms),
        "ms",
    ));
    rows.push((
        "bare loopback writes of such events, CPU time".into(),
        Box::new(|r| r.fan_out_kernel_ms),
        "ms",
    ));
    for at in 0..reports[0].memory.len() {
        let objects = reports[0].memory[at].0;
        if reports.iter().all(|r| r.memory[at].0 == objects) {
            rows.push((
                format!("memory at {objects} objects"),
                Box::new(move |r| r.memory[at].1 as f64 / 1024.0),
                "MiB",
            ));
            continue;
        }
        // A faster server was given more objects in the same time.
        rows.push((
            "memory per object at the end".into(),
            Box::new(move |r| {
                let grown = r.memory[at].1.saturating_sub(r.memory[0].1);
                grown as f64 / r.memory[at].0 as f64
            }),
            "KiB",
        ));
    }
    let names: Vec<&str> = reports.iter().map(|r| r.name).collect();
    let ratio = if names.len() == 2 { " ratio |" } else { "" };
    println!("| what | {} |{ratio}", names.join(" | "));
    println!(
        "|---|{}{}",
        "---:|".repeat(names.len()),
        if ratio.is_empty() { "" } else { "---:|" }
    );
    for (what, figure, unit) in rows {
        let figures: Vec<f64> = reports.iter().map(figure).collect();
        let mut cells: Vec<String> = figures
            .iter()
            .map(|figure| format!("{} {unit}", short(*figure)))
            .collect();
        if let [ours, theirs] = figures[..] {
            cells.push(better(&what, unit, ours, theirs));
        }
        println!("| {what} | {} |", cells.join(" | "));
    }
}

/// How many times better the first is; nothing where it is not the servers that are measured.
fn better(what: &str, unit: &str, ours: f64, theirs: f64) -> String {
    let others = what.contains("of the clients") || what.contains("loopback");
    match unit {
        _ if others => String::new(),
        "/s" | "MB/s" => format!("{:.1}", ours / theirs),
        _ => format!("{:.1}", theirs / ours),
    }
}

/// Three digits that matter.
fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
