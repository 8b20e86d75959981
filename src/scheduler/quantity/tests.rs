use super::{milli, units};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

#[test]
fn reads_every_form() {
    for (text, whole, thousandths) in [
        ("0", 0, 0),
        ("1", 1, 1000),
        ("100m", 1, 100),
        ("1500m", 2, 1500),
        ("0.1", 1, 100),
        (".5", 1, 500),
        ("2.", 2, 2000),
        ("1Ki", 1024, 1_024_000),
        ("1.5Gi", 1_610_612_736, 1_610_612_736_000),
        ("128974848", 128_974_848, 128_974_848_000),
        ("129e6", 129_000_000, 129_000_000_000),
        ("129M", 129_000_000, 129_000_000_000),
        (
            "12E",
            12_000_000_000_000_000_000_i128.min(i128::from(i64::MAX)) as i64,
            i64::MAX,
        ),
        ("1n", 1, 1),
        ("1u", 1, 1),
        ("0.0001", 1, 1),
        ("-1", -1, -1000),
        ("+3", 3, 3000),
        ("1e3", 1000, 1_000_000),
        ("1E3", 1000, 1_000_000),
        ("999999999999999999999999999999999999999999", i64::MAX, i64::MAX),
    ] {
        let quantity = Quantity(text.to_owned());
        assert_eq!(
            (units(&quantity), milli(&quantity)),
            (Some(whole), Some(thousandths)),
            "{text}"
        );
    }
}

#[test]
fn refuses_what_is_none() {
    for text in ["", "-", ".", "1.2.3", "1x", "Ki", "1 Ki", "1e", "1e99999999999"] {
        assert_eq!(units(&Quantity(text.to_owned())), None, "{text}");
    }
}
