//! Numbers that may be given as percentages.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The number, or the percentage of `total` rounded up or down. `None`: neither.
pub(crate) fn resolve(value: &IntOrString, total: i32, round_up: bool) -> Option<i32> {
    match value {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(text) => {
            let percent: i64 = text.strip_suffix('%')?.parse().ok()?;
            let product = percent * i64::from(total);
            let quotient = product.div_euclid(100);
            let up = round_up && product.rem_euclid(100) != 0;
            i32::try_from(quotient + i64::from(up)).ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_as_asked() {
        let percent = |p: &str| IntOrString::String(p.to_owned());
        assert_eq!(resolve(&percent("25%"), 10, true), Some(3));
        assert_eq!(resolve(&percent("25%"), 10, false), Some(2));
        assert_eq!(resolve(&percent("100%"), 7, false), Some(7));
        assert_eq!(resolve(&percent("0%"), 7, true), Some(0));
        assert_eq!(resolve(&IntOrString::Int(4), 7, true), Some(4));
        assert_eq!(resolve(&percent("x"), 7, true), None);
    }
}
