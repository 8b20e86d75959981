use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).expect("a time")
}

#[test]
fn doubles_from_ten_seconds_to_five_minutes_and_starts_over() {
    let mut backoffs = Backoffs::new(Duration::from_secs(10), Duration::from_secs(300));
    assert_eq!(
        backoffs.remaining("k", at(0), at(0)),
        None,
        "the first restart is at once"
    );
    backoffs.next("k", at(0), at(0));
    let mut now = 0;
    for want in [10, 20, 40, 80, 160, 300, 300] {
        let (left, whole) = backoffs.remaining("k", at(now), at(now + 1)).expect("waits");
        assert_eq!((left.as_secs(), whole.as_secs()), (want - 1, want));
        assert_eq!(backoffs.remaining("k", at(now), at(now + want as i64)), None);
        backoffs.next("k", at(now), at(now + want as i64));
        now += want as i64 + 1;
    }
    assert_eq!(
        backoffs.remaining("k", at(now + 700), at(now + 700)),
        None,
        "ten quiet minutes"
    );
    backoffs.next("k", at(now + 700), at(now + 700));
    assert_eq!(
        backoffs
            .remaining("k", at(now + 701), at(now + 701))
            .expect("waits")
            .1
            .as_secs(),
        10
    );
    backoffs.forget("k");
    assert_eq!(backoffs.remaining("k", at(now + 701), at(now + 701)), None);
}

#[test]
fn prints_as_go_does() {
    for (millis, want) in [
        (10_000, "10s"),
        (80_000, "1m20s"),
        (300_000, "5m0s"),
        (0, "0s"),
        (1500, "1.5s"),
        (15, "15ms"),
        (3_600_000, "1h0m0s"),
    ] {
        assert_eq!(go_duration(Duration::from_millis(millis)), want);
    }
}
