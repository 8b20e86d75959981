use super::*;
use crate::testing::FakeApi;

fn elector(identity: &str) -> LeaderElector {
    LeaderElector::new("kube-system", "test", identity)
}

#[tokio::test(start_paused = true)]
async fn one_leads_and_the_next_follows_when_the_lease_is_given_back() {
    let api = FakeApi::new();
    let stop = CancellationToken::new();
    let (leading, hold) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
    let first = elector("first");
    let first = first.run(api.client(), stop.clone(), |_| async {
        leading.notify_one();
        hold.notified().await;
        "first"
    });
    let second = async {
        leading.notified().await;
        let second = elector("second");
        let mut second = std::pin::pin!(second.run(api.client(), stop.clone(), |_| async { "second" }));
        let early = tokio::time::timeout(Duration::from_secs(60), &mut second).await;
        assert!(early.is_err(), "the first still renews");
        hold.notify_one();
        second.await
    };
    assert_eq!(tokio::join!(first, second), (Some("first"), Some("second")));
    let lease = api.get("leases", "kube-system", "test").unwrap();
    assert_eq!(lease["spec"]["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_holder_is_replaced_after_its_duration() {
    let api = FakeApi::new();
    api.create(serde_json::json!({
        "kind": "Lease", "metadata": {"name": "test", "namespace": "kube-system"},
        "spec": {"holderIdentity": "dead", "leaseDurationSeconds": 15, "leaseTransitions": 3},
    }));
    let start = Instant::now();
    let led = elector("next")
        .run(api.client(), CancellationToken::new(), |_| async { 1 })
        .await;
    assert_eq!(led, Some(1));
    assert!((15..=18).contains(&start.elapsed().as_secs()));
}
