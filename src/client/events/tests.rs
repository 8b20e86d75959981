use jiff::SignedDuration;

use super::*;

fn occurrence(message: &str, second: i64) -> Occurrence {
    Occurrence {
        about: ObjectReference {
            name: Some("web".into()),
            uid: Some("u".into()),
            ..Default::default()
        },
        kind: EventType::Normal,
        reason: "Why".into(),
        message: message.into(),
        at: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second),
    }
}

#[test]
fn many_messages_are_combined_and_many_events_muted() {
    let mut correlator = Correlator::default();
    for i in 0..10 {
        assert!(matches!(
            correlator.observe(occurrence(&format!("m{i}"), 0)),
            Outcome::New { .. }
        ));
    }
    let Outcome::New {
        key,
        occurrence: combined,
    } = correlator.observe(occurrence("m10", 0))
    else {
        panic!("a new combined event")
    };
    assert_eq!(combined.message, "(combined from similar events): m10");
    correlator.written(&key, "stored".into());
    let Outcome::Repeat { name, count, .. } = correlator.observe(occurrence("m11", 0)) else {
        panic!("the combined event again")
    };
    assert_eq!((name.as_str(), count), ("stored", 2));
    let muted = (0..30)
        .filter(|_| matches!(correlator.observe(occurrence("m0", 1)), Outcome::Muted))
        .count();
    assert_eq!(muted, 30 - (25 - 12));
    assert!(
        matches!(correlator.observe(occurrence("m0", 301)), Outcome::New { .. }),
        "one token earned"
    );
}

#[test]
fn an_expired_event_begins_again() {
    let mut correlator = Correlator::default();
    let Outcome::New { key, .. } = correlator.observe(occurrence("m", 0)) else {
        panic!("new")
    };
    correlator.written(&key, "one".into());
    correlator.restart(&key, Timestamp::UNIX_EPOCH);
    assert!(matches!(
        correlator.observe(occurrence("m", 1)),
        Outcome::New { .. }
    ));
}
