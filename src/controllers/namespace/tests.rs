use k8s_openapi::api::core::v1::NamespaceStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;

fn time(second: i64) -> Time {
    Time(jiff::Timestamp::from_second(second).unwrap())
}

#[test]
fn conditions_tell_what_remains_and_keep_their_times() {
    let busy = Progress {
        remaining: [("pods.".to_owned(), 2)].into(),
        finalizers: [("test/hold".to_owned(), 1)].into(),
        ..Progress::default()
    };
    let first = status::status(&NamespaceStatus::default(), &busy, &time(1));
    let find = |status: &NamespaceStatus, kind: &str| {
        let condition = status
            .conditions
            .iter()
            .flatten()
            .find(|c| c.type_ == kind)
            .unwrap()
            .clone();
        (
            condition.status,
            condition.message.unwrap(),
            condition.last_transition_time.unwrap(),
        )
    };
    assert_eq!(first.phase.as_deref(), Some("Terminating"));
    assert_eq!(
        find(&first, "NamespaceContentRemaining"),
        (
            "True".into(),
            "Some resources are remaining: pods. has 2 resource instances".into(),
            time(1)
        )
    );
    assert_eq!(
        find(&first, "NamespaceFinalizersRemaining").1,
        "Some content in the namespace has finalizers remaining: test/hold in 1 resource instances"
    );
    assert_eq!(find(&first, "NamespaceDeletionContentFailure").0, "False");
    assert_eq!(status::status(&first, &busy, &time(2)), first);

    let fewer = Progress {
        remaining: [("pods.".to_owned(), 1)].into(),
        ..Progress::default()
    };
    let second = status::status(&first, &fewer, &time(2));
    assert_eq!(
        find(&second, "NamespaceContentRemaining").2,
        time(1),
        "still remaining since then"
    );
    assert_eq!(find(&second, "NamespaceFinalizersRemaining").2, time(2));
}
