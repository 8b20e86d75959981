use super::*;

#[test]
fn conditions_follow_the_runtime() {
    let at = |s| Timestamp::from_second(s).expect("a time");
    let down = RuntimeHealth {
        message: "container runtime is down".into(),
        ..RuntimeHealth::default()
    };
    let first = conditions(&[], &down, at(10));
    assert_eq!(first[3].status, "False");
    assert_eq!(first[3].reason.as_deref(), Some("KubeletNotReady"));
    let up = RuntimeHealth {
        runtime_ready: true,
        network_ready: true,
        message: String::new(),
    };
    let second = conditions(&first, &up, at(20));
    assert_eq!(
        second[3].message.as_deref(),
        Some("kubelet is posting ready status")
    );
    assert_eq!(second[3].last_transition_time, Some(Time(at(20))));
    assert_eq!(
        second[0].last_transition_time,
        Some(Time(at(10))),
        "unchanged status keeps its time"
    );
    assert_eq!(second[0].last_heartbeat_time, Some(Time(at(20))));
}

#[test]
fn says_what_the_runtime_lacks() {
    let status = v1::RuntimeStatus {
        conditions: vec![
            v1::RuntimeCondition {
                r#type: "RuntimeReady".into(),
                status: true,
                ..Default::default()
            },
            v1::RuntimeCondition {
                r#type: "NetworkReady".into(),
                status: false,
                reason: "NetworkPluginNotReady".into(),
                message: "cni plugin not initialized".into(),
            },
        ],
    };
    let health = RuntimeHealth::of(&Ok(v1::StatusResponse {
        status: Some(status),
        ..Default::default()
    }));
    assert!(health.runtime_ready && !health.network_ready);
    assert_eq!(
        health.message,
        "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:cni plugin not initialized"
    );
}
