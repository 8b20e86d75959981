//! Sets of completion indexes and their text form, such as `0-2,4`. Pure.

use std::collections::BTreeSet;

pub(super) fn parse(text: &str) -> BTreeSet<i32> {
    let mut set = BTreeSet::new();
    for part in text.split(',').filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) {
            set.extend(first..=last);
        }
    }
    set
}

pub(super) fn print(set: &BTreeSet<i32>) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut run: Option<(i32, i32)> = None;
    let flush = |run: Option<(i32, i32)>, parts: &mut Vec<String>| match run {
        None => {}
        Some((first, last)) if first == last => parts.push(first.to_string()),
        Some((first, last)) if first + 1 == last => parts.extend([first.to_string(), last.to_string()]),
        Some((first, last)) => parts.push(format!("{first}-{last}")),
    };
    for &index in set {
        run = match run {
            Some((first, last)) if last + 1 == index => Some((first, index)),
            other => {
                flush(other, &mut parts);
                Some((index, index))
            }
        };
    }
    flush(run, &mut parts);
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints() {
        for text in ["", "0", "0-2,4", "1,3-5,7", "0,1"] {
            assert_eq!(print(&parse(text)), text);
        }
        assert_eq!(print(&BTreeSet::from([3, 4, 5, 9])), "3-5,9");
    }
}
