use super::*;

fn counter(success: i32, failure: i32) -> Counter {
    Counter::new(&Probe {
        success_threshold: Some(success),
        failure_threshold: Some(failure),
        ..Probe::default()
    })
}

#[test]
fn thresholds_count_runs() {
    let mut c = counter(1, 3);
    assert_eq!(c.record(true), Some(true));
    assert_eq!(c.record(false), None);
    assert_eq!(c.record(false), None);
    assert_eq!(c.record(true), Some(true), "a success breaks the run");
    assert_eq!(
        (c.record(false), c.record(false), c.record(false)),
        (None, None, Some(false))
    );
    let mut slow = counter(2, 1);
    assert_eq!((slow.record(true), slow.record(true)), (None, Some(true)));
    assert_eq!(slow.record(false), Some(false));
    let mut defaults = Counter::new(&Probe::default());
    assert_eq!(
        (
            defaults.record(false),
            defaults.record(false),
            defaults.record(false)
        ),
        (None, None, Some(false))
    );
}
