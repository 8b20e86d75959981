use super::*;

#[tokio::test]
async fn a_failing_container_backs_off() {
    let node = Node::new();
    let crash = Behaviour::Exit {
        after: Duration::ZERO,
        code: 3,
        reason: "Error".into(),
    };
    node.runtime.add_image("crash:1", crash);
    let uid = node.pod("web", json!({"containers": [{"name": "c", "image": "crash:1"}]}));
    let status = node
        .wait("web", "back-off", |s| {
            state(s, "waiting")["reason"] == "CrashLoopBackOff"
        })
        .await;
    let want = format!("back-off 10s restarting failed container=c pod=web_default({uid})");
    assert_eq!(state(&status, "waiting")["message"], want);
    let last = &status["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!((&last["exitCode"], &last["reason"]), (&json!(3), &json!("Error")));
    assert_eq!(
        status["containerStatuses"][0]["restartCount"], 1,
        "the first restart is at once"
    );
    assert_eq!(status["phase"], "Running");
    assert_eq!(
        condition(&status, "Ready")["message"],
        "containers with unready status: [c]"
    );
    assert_eq!(condition(&status, "Ready")["reason"], "ContainersNotReady");
    let event = node.event("BackOff").await;
    assert_eq!(
        event,
        format!("Back-off restarting failed container c in pod web_default({uid})")
    );
}

#[tokio::test]
async fn a_container_that_cannot_be_made_is_not_tried_at_every_change() {
    let node = Node::new();
    node.runtime.fail("CreateContainer", 1000, "no such device");
    node.pod("web", one(json!({})));
    node.event("Failed").await;
    for turn in 0..20 {
        node.api.edit("pods", "default", "web", |pod| {
            pod["metadata"]["labels"] = json!({"turn": turn.to_string()});
        });
    }
    node.wait("web", "the reason", |s| {
        state(s, "waiting")["reason"] == "CreateContainerError"
    })
    .await;
    assert!(
        node.runtime.calls("CreateContainer") <= 2,
        "{}",
        node.runtime.calls("CreateContainer")
    );
}
