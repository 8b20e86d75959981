//! What can be looked at: `/debug/api_priority_and_fairness/*` and metrics, under upstream's names.

use std::{fmt::Write as _, sync::atomic::Ordering};

use super::{FlowControl, level::State};
use crate::metrics::layers::{head, line};

/// Names of [`super::Refusal`]s, in their order, and the one of requests whose client went away.
const REASONS: [&str; 3] = ["queue-full", "concurrency-limit", "time-out"];

/// Answers a path below `/debug/api_priority_and_fairness/`; `None` when it is none.
pub(crate) fn dump(flow: &FlowControl, path: &str, details: bool) -> Option<String> {
    let config = flow.config();
    let mut levels: Vec<_> = config.levels.values().collect();
    levels.sort_by(|a, b| a.name.cmp(&b.name));
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |cells: &[&dyn std::fmt::Display]| rows.push(cells.iter().map(|c| c.to_string()).collect());
    match path {
        "dump_priority_levels" => {
            row(&[
                &"PriorityLevelName",
                &"ActiveQueues",
                &"IsIdle",
                &"IsQuiescing",
                &"WaitingRequests",
                &"ExecutingRequests",
                &"DispatchedRequests",
                &"RejectedRequests",
                &"TimedoutRequests",
                &"CancelledRequests",
            ]);
            for level in levels {
                let state = level.state.lock();
                let active = state.queues.iter().filter(|q| !q.requests.is_empty()).count();
                let count = |at: usize| level.refused[at].load(Ordering::Relaxed);
                row(&[
                    &level.name,
                    &active,
                    &(state.executing == 0 && state.waiting == 0),
                    &false,
                    &state.waiting,
                    &state.executing,
                    &level.dispatched.load(Ordering::Relaxed),
                    &(count(0) + count(1)),
                    &count(2),
                    &count(3),
                ]);
            }
        }
        "dump_queues" => {
            row(&[
                &"PriorityLevelName",
                &"Index",
                &"PendingRequests",
                &"ExecutingRequests",
                &"SeatsInUse",
                &"NextDispatchR",
                &"InitialSeatsSum",
                &"MaxSeatsSum",
                &"TotalWorkSum",
            ]);
            for level in levels {
                let state = level.state.lock();
                for (at, queue) in state.queues.iter().enumerate() {
                    let seats: usize = queue.requests.iter().map(|r| r.width).sum();
                    row(&[
                        &level.name,
                        &at,
                        &queue.requests.len(),
                        &queue.executing,
                        &queue.in_use,
                        &format_args!("{:.8}ss", queue.next),
                        &seats,
                        &seats,
                        &format_args!("{:.8}ss", seats as f64 * 0.003),
                    ]);
                }
            }
        }
        "dump_requests" => {
            let mut names: Vec<&dyn std::fmt::Display> = vec![
                &"PriorityLevelName",
                &"FlowSchemaName",
                &"QueueIndex",
                &"RequestIndexInQueue",
                &"FlowDistingsher",
                &"ArriveTime",
                &"InitialSeats",
                &"FinalSeats",
                &"AdditionalLatency",
            ];
            if details {
                names.push(&"UserName");
            }
            row(&names);
            for level in levels {
                requests(&level.name, &level.state.lock(), details, &mut rows);
            }
        }
        _ => return None,
    }
    Some(aligned(&rows))
}

fn requests(level: &str, state: &State, details: bool, rows: &mut Vec<Vec<String>>) {
    for (at, queue) in state.queues.iter().enumerate() {
        for (index, request) in queue.requests.iter().enumerate() {
            let mut cells = vec![
                level.to_owned(),
                request.schema.clone(),
                at.to_string(),
                index.to_string(),
                request.flow.clone(),
                request.arrived.strftime("%Y-%m-%dT%H:%M:%S%.9fZ").to_string(),
                request.width.to_string(),
                "0".to_owned(),
                "0s".to_owned(),
            ];
            if details {
                cells.push(request.flow.clone());
            }
            rows.push(cells);
        }
    }
}

/// Columns of equal width, commas between, as upstream's tabwriter puts them.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|r| r.get(at));
        cells.map(|c| c.len() + 2).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            // Writing to a string does not fail.
            let _ = if at + 1 == row.len() {
                writeln!(out, "{cell}")
            } else {
                write!(out, "{:<width$}", format!("{cell},"), width = widths[at])
            };
        }
    }
    out
}

/// Flow control's metrics in text form.
pub(crate) fn metrics(flow: &FlowControl) -> String {
    let config = flow.config();
    let mut out = String::new();
    let by_schema =
        |name: &str, kind: &str, help: &str, value: &dyn Fn(&super::Counters) -> i64, out: &mut String| {
            head(out, name, kind, help);
            for schema in &config.schemas {
                let labels = format!(
                    "flow_schema=\"{}\",priority_level=\"{}\"",
                    schema.name, schema.level.name
                );
                line(out, name, &labels, value(&schema.counters));
            }
        };
    by_schema(
        "apiserver_flowcontrol_dispatched_requests_total",
        "counter",
        "Number of requests executed by API Priority and Fairness subsystem",
        &|c| c.dispatched.load(Ordering::Relaxed).cast_signed(),
        &mut out,
    );
    by_schema(
        "apiserver_flowcontrol_current_inqueue_requests",
        "gauge",
        "Number of requests currently pending in queues of the API Priority and Fairness subsystem",
        &|c| c.waiting.load(Ordering::Relaxed),
        &mut out,
    );
    by_schema(
        "apiserver_flowcontrol_current_executing_requests",
        "gauge",
        "Number of requests in initial (for a WATCH) or any (for a non-WATCH) execution stage in the API Priority and Fairness subsystem",
        &|c| c.executing.load(Ordering::Relaxed),
        &mut out,
    );
    by_schema(
        "apiserver_flowcontrol_current_executing_seats",
        "gauge",
        "Concurrency (number of seats) occupied by the currently executing requests in the API Priority and Fairness subsystem",
        &|c| c.seats.load(Ordering::Relaxed),
        &mut out,
    );
    let name = "apiserver_flowcontrol_rejected_requests_total";
    head(
        &mut out,
        name,
        "counter",
        "Number of requests rejected by API Priority and Fairness subsystem",
    );
    for schema in &config.schemas {
        for (reason, count) in REASONS.iter().zip(&schema.counters.refused) {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                let labels = format!(
                    "flow_schema=\"{}\",priority_level=\"{}\",reason=\"{reason}\"",
                    schema.name, schema.level.name
                );
                line(&mut out, name, &labels, count);
            }
        }
    }
    let name = "apiserver_flowcontrol_request_wait_duration_seconds";
    let help = "Length of time a request spent waiting in its queue";
    head(&mut out, name, "histogram", help);
    for schema in &config.schemas {
        for (executed, waits) in ["false", "true"].iter().zip(&*schema.counters.waits.lock()) {
            let labels = format!(
                "execute=\"{executed}\",flow_schema=\"{}\",priority_level=\"{}\"",
                schema.name, schema.level.name
            );
            if !waits.is_empty() {
                waits.write(&mut out, name, &labels, 0.0);
            }
        }
    }
    let mut levels: Vec<_> = config.levels.values().collect();
    levels.sort_by(|a, b| a.name.cmp(&b.name));
    type Seats = fn(&State) -> f64;
    let gauges: [(&str, &str, Seats); 9] = [
        (
            "apiserver_flowcontrol_nominal_limit_seats",
            "Nominal number of execution seats configured for each priority level",
            |s| s.bounds.nominal as f64,
        ),
        (
            "apiserver_flowcontrol_lower_limit_seats",
            "Configured lower bound on number of execution seats available to each priority level",
            |s| s.bounds.least as f64,
        ),
        (
            "apiserver_flowcontrol_upper_limit_seats",
            "Configured upper bound on number of execution seats available to each priority level",
            |s| s.bounds.most as f64,
        ),
        (
            "apiserver_flowcontrol_current_limit_seats",
            "current derived number of execution seats available to each priority level",
            |s| s.limit as f64,
        ),
        (
            "apiserver_flowcontrol_demand_seats_average",
            "Time-weighted average, over last adjustment period, of demand_seats",
            |s| s.demand.told.average,
        ),
        (
            "apiserver_flowcontrol_demand_seats_high_watermark",
            "High watermark, over last adjustment period, of demand_seats",
            |s| s.demand.told.most as f64,
        ),
        (
            "apiserver_flowcontrol_demand_seats_smoothed",
            "Smoothed seat demands",
            |s| s.demand.told.smooth,
        ),
        (
            "apiserver_flowcontrol_demand_seats_stdev",
            "Time-weighted standard deviation, over last adjustment period, of demand_seats",
            |s| s.demand.told.deviation,
        ),
        (
            "apiserver_flowcontrol_target_seats",
            "Seat allocation targets",
            |s| s.target,
        ),
    ];
    for (name, help, value) in gauges {
        head(&mut out, name, "gauge", help);
        for level in &levels {
            let labels = format!("priority_level=\"{}\"", level.name);
            line(&mut out, name, &labels, value(&level.state.lock()));
        }
    }
    out
}
