use super::*;

#[test]
fn versions_have_an_order() {
    let mut all = vec![
        "foo1",
        "v1alpha1",
        "v2",
        "v10",
        "v1beta2",
        "v1beta1",
        "foo10",
        "v1",
        "v11alpha2",
        "v2alpha1",
    ];
    all.sort_by(|a, b| order(a, b));
    assert_eq!(
        all,
        [
            "v10",
            "v2",
            "v1",
            "v1beta2",
            "v1beta1",
            "v11alpha2",
            "v2alpha1",
            "v1alpha1",
            "foo1",
            "foo10"
        ]
    );
}
