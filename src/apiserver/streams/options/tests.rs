use super::*;
use crate::request::info::query_pairs;

fn read(query: &str) -> Result<Logs, (u16, String)> {
    logs("p", &query_pairs(Some(query))).map_err(|status| (status.code, status.message))
}

#[test]
fn a_kubelet_is_asked_by_name() {
    for (query, asked) in [
        ("", ""),
        ("timestamps=true&tailLines=5", "tailLines=5&timestamps=true"),
        (
            "follow=1&previous=false&limitBytes=9&tailLines=0",
            "follow=true&limitBytes=9&tailLines=0",
        ),
        (
            "sinceTime=2020-01-02T03%3A04%3A05Z&stream=&tailLines=1&tailLines=2",
            "sinceTime=2020%2D01%2D02T03%3A04%3A05Z&tailLines=1",
        ),
        ("sinceSeconds=3&nonsense=x", "sinceSeconds=3"),
    ] {
        assert_eq!(read(query).unwrap().query, asked, "{query}");
    }
    assert_eq!(read("container=c&follow=0").unwrap().container, "c");
}

#[test]
fn what_cannot_be_asked_is_said_in_upstreams_words() {
    let invalid = |fault: &str| (422, format!("PodLogOptions \"p\" is invalid: {fault}"));
    let bad = |why: &str| (400, why.to_owned());
    for (query, refusal) in [
        (
            "tailLines=x",
            bad("strconv.ParseInt: parsing \"x\": invalid syntax"),
        ),
        (
            "tailLines=",
            bad("strconv.ParseInt: parsing \"\": invalid syntax"),
        ),
        (
            "limitBytes=99999999999999999999",
            bad("strconv.ParseInt: parsing \"99999999999999999999\": value out of range"),
        ),
        (
            "limitBytes=x&tailLines=y",
            bad("strconv.ParseInt: parsing \"y\": invalid syntax"),
        ),
        (
            "sinceTime=x",
            bad("parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"x\" as \"2006\""),
        ),
        (
            "tailLines=-1",
            invalid("tailLines: Invalid value: -1: must be greater than or equal to 0"),
        ),
        (
            "limitBytes=0",
            invalid("limitBytes: Invalid value: 0: must be greater than 0"),
        ),
        (
            "sinceSeconds=0",
            invalid("sinceSeconds: Invalid value: 0: must be greater than 0"),
        ),
        (
            "sinceSeconds=1&sinceTime=2020-01-01T00:00:00Z",
            invalid("[]: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"),
        ),
        (
            "stream=Stdout",
            invalid("stream: Forbidden: may not be specified"),
        ),
    ] {
        assert_eq!(read(query), Err(refusal), "{query}");
    }
}

#[test]
fn ports_are_numbers() {
    let read = |query: &str| {
        let pairs = query_pairs(Some(query));
        let read = ports(&pairs).map(|ports| ports.join(","));
        read.map_err(|status| status.message)
    };
    assert_eq!(read("ports=80&ports=8080"), Ok("80,8080".into()));
    for (query, why) in [
        ("ports=x", "parsing \"x\": invalid syntax"),
        ("ports=80&ports=99999", "parsing \"99999\": value out of range"),
    ] {
        assert_eq!(
            read(query),
            Err(format!("cannot convert to []int32: strconv.ParseUint: {why}"))
        );
    }
}
