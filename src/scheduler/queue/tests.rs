use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;

use super::Queue;
use crate::{
    plugins::{Plugin, PluginSet},
    pod::PodInfo,
    testing::pod,
};

const SECOND: Duration = Duration::from_secs(1);

fn prioritised(name: &str, priority: i32) -> Arc<PodInfo> {
    pod(name, json!({ "spec": { "priority": priority } }))
}

fn fit() -> PluginSet {
    [Plugin::NodeResourcesFit].into_iter().collect()
}

fn pop(queue: &mut Queue, now: Instant) -> Option<String> {
    queue.pop(now).and_then(|pod| pod.pod.metadata.name.clone())
}

#[test]
fn priority_first_then_age() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    for (name, priority, after) in [("b", 0, 0), ("a", 0, 1), ("high", 9, 2), ("c", 0, 1)] {
        queue.set(prioritised(name, priority), now + after * SECOND);
    }
    let order: Vec<_> = std::iter::from_fn(|| pop(&mut queue, now + 3 * SECOND)).collect();
    assert_eq!(order, ["high", "b", "a", "c"]);
    assert_eq!(queue.len(), 4, "handed out, but not yet done");
    queue.remove("uid-a");
    assert_eq!(queue.len(), 3);
}

#[test]
fn an_unschedulable_pod_waits_for_a_change_that_helps() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    queue.set(prioritised("p", 0), now);
    assert_eq!(pop(&mut queue, now).as_deref(), Some("p"));
    queue.unschedulable("uid-p", fit(), now);
    assert!(!queue.is_ready(now + 100 * SECOND));
    queue.changed(now + 60 * SECOND, |_, by| by.contains(Plugin::NodePorts));
    assert_eq!(pop(&mut queue, now + 60 * SECOND), None);
    queue.changed(now + 60 * SECOND, |_, by| by.contains(Plugin::NodeResourcesFit));
    assert_eq!(pop(&mut queue, now + 60 * SECOND).as_deref(), Some("p"));
}

#[test]
fn without_any_change_it_is_tried_after_five_minutes() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    queue.set(prioritised("p", 0), now);
    queue.pop(now);
    queue.unschedulable("uid-p", fit(), now);
    assert_eq!(queue.next_due(), Some(now + 300 * SECOND));
    assert_eq!(pop(&mut queue, now + 299 * SECOND), None);
    assert_eq!(pop(&mut queue, now + 300 * SECOND).as_deref(), Some("p"));
}

#[test]
fn errors_back_off_doubling_up_to_ten_seconds() {
    let (mut queue, mut now) = (Queue::default(), Instant::now());
    queue.set(prioritised("p", 0), now);
    for wait in [1, 2, 4, 8, 10, 10] {
        assert_eq!(pop(&mut queue, now).as_deref(), Some("p"));
        queue.failed("uid-p", now);
        assert_eq!(queue.next_due(), Some(now + wait * SECOND));
        assert!(!queue.is_ready(now), "an error's pod is not taken early");
        now += wait * SECOND;
    }
}

#[test]
fn a_woken_pod_is_taken_early_only_when_nothing_else_waits() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    queue.set(prioritised("p", 9), now);
    queue.pop(now);
    queue.unschedulable("uid-p", fit(), now);
    queue.changed(now, |_, _| true);
    queue.set(prioritised("q", 0), now);
    assert_eq!(pop(&mut queue, now).as_deref(), Some("q"), "p still backs off");
    assert!(queue.is_ready(now));
    assert_eq!(pop(&mut queue, now).as_deref(), Some("p"));
}

#[test]
fn gates_hold_a_pod_back() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    queue.set(
        pod(
            "p",
            json!({ "spec": { "schedulingGates": [{ "name": "wait" }] } }),
        ),
        now,
    );
    queue.changed(now, |_, _| true);
    assert!(!queue.is_ready(now) && queue.next_due().is_none());
    queue.set(pod("p", json!({})), now);
    assert_eq!(pop(&mut queue, now).as_deref(), Some("p"));
}

#[test]
fn a_changed_spec_or_label_is_a_new_chance_and_a_changed_status_is_not() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    queue.set(prioritised("p", 0), now);
    queue.pop(now);
    queue.unschedulable("uid-p", fit(), now);
    let told = json!({ "spec": { "priority": 0 }, "status": { "conditions": [{ "type": "PodScheduled", "status": "False" }] } });
    queue.set(pod("p", told), now + 20 * SECOND);
    assert_eq!(pop(&mut queue, now + 20 * SECOND), None);
    queue.set(
        pod("p", json!({ "metadata": { "labels": { "a": "b" } } })),
        now + 20 * SECOND,
    );
    assert_eq!(pop(&mut queue, now + 20 * SECOND).as_deref(), Some("p"));
}

#[test]
fn a_pod_in_flight_takes_changes_and_can_go() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    queue.set(prioritised("p", 0), now);
    queue.pop(now);
    queue.set(pod("p", json!({ "metadata": { "labels": { "a": "b" } } })), now);
    assert_eq!(pop(&mut queue, now), None);
    assert!(queue.get("uid-p").is_some_and(|pod| pod.labels().is_some()));
    queue.remove("uid-p");
    queue.failed("uid-p", now);
    queue.unschedulable("uid-p", fit(), now);
    assert!(queue.is_empty() && queue.next_due().is_none());
}
