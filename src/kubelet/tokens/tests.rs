use super::*;

#[test]
fn refreshes_at_four_fifths_of_the_life() {
    let now = Timestamp::from_second(1000).expect("a time");
    let after = |life: i64| {
        refresh_time(now, now + SignedDuration::from_secs(life))
            .duration_since(now)
            .as_secs()
    };
    assert_eq!((after(3600), after(600), after(-5)), (2880, 480, 0));
    assert_eq!(after(365 * 24 * 3600), MAX_AGE_SECONDS);
}
