//! What every [`Firewall`] promises, as code.

use std::net::IpAddr;

use super::{Change, Datum, Element, Family, Firewall, Table, Transaction, Verdict};

fn sorted(firewall: &dyn Firewall, table: &Table, set: &str) -> Vec<String> {
    let mut found = firewall.elements(table, set).expect("the set is there");
    found.sort();
    found
}

/// Checks a firewall against the contract; it makes and deletes a table called
/// `rkind-contract`.
///
/// # Panics
/// When a promise isn't kept; the message says which.
pub fn check(firewall: &dyn Firewall) {
    let table = Table::new(Family::Ip, "rkind-contract");
    let shape = "add table ip rkind-contract\n\
        add map ip rkind-contract fronts { type ipv4_addr . inet_proto . inet_service : mark; }\n\
        add map ip rkind-contract pools { type mark : verdict; }\n\
        add map ip rkind-contract ends { typeof meta mark . numgen random mod 1 : ip daddr . th dport; }\n\
        add set ip rkind-contract pairs { type ipv4_addr . ipv4_addr; }\n\
        add set ip rkind-contract ranges { type inet_service . ipv4_addr; flags interval; }\n\
        add chain ip rkind-contract one\n\
        add chain ip rkind-contract two\n";
    let ip = |last: u8| Datum::Ip(IpAddr::from([10, 96, 0, last]));
    let front = |last: u8| vec![ip(last), Datum::Protocol(6), Datum::Port(80)];
    let add = |set, key: Vec<Datum>, element| Change::Add { set, key, element };
    let mark = |n| Element::Data(vec![Datum::Mark(n)]);

    firewall
        .delete_table(&table)
        .expect("deleting a table that isn't there is fine");
    assert!(!firewall.has_table(&table).expect("an answer"), "no table yet");
    firewall
        .commit(&Transaction {
            table: table.clone(),
            script: shape.to_owned(),
            elements: vec![
                add("fronts", front(1), mark(7)),
                add("fronts", front(2), mark(8)),
                add(
                    "pools",
                    vec![Datum::Mark(7)],
                    Element::Verdict(Verdict::Goto("one".into())),
                ),
                add(
                    "ends",
                    vec![Datum::Mark(7), Datum::Number(3)],
                    Element::Data(vec![ip(9), Datum::Port(8080)]),
                ),
                add("pairs", vec![ip(9), ip(9)], Element::Member),
            ],
        })
        .expect("shape and elements in one transaction");
    let fronts = [
        "10.96.0.1 . 6 . 80 : 0x00000007",
        "10.96.0.2 . 6 . 80 : 0x00000008",
    ];
    let as_numbers =
        |texts: Vec<String>| -> Vec<String> { texts.iter().map(|t| t.replace("tcp", "6")).collect() };
    assert_eq!(
        as_numbers(sorted(firewall, &table, "fronts")),
        fronts,
        "elements are there"
    );
    assert_eq!(
        sorted(firewall, &table, "pools"),
        ["0x00000007 : goto one"],
        "verdicts are there"
    );
    assert_eq!(
        sorted(firewall, &table, "pairs"),
        ["10.96.0.9 . 10.96.0.9"],
        "members are there"
    );
    assert_eq!(
        sorted(firewall, &table, "ends").len(),
        1,
        "concatenated data is there"
    );

    assert!(
        firewall.has_table(&table).expect("an answer"),
        "the table is there"
    );
    let range = |text: &str| vec![Datum::Port(80), Datum::Net(text.parse().expect("a range"))];
    let ranges = ["10.0.0.0/8", "192.0.2.7/32"].map(|text| add("ranges", range(text), Element::Member));
    firewall
        .commit(&Transaction::elements(&table, ranges.to_vec()))
        .expect("ranges in a concatenation");
    let gone = Change::Delete {
        set: "ranges",
        key: range("10.0.0.0/8"),
    };
    firewall
        .commit(&Transaction::elements(&table, vec![gone]))
        .expect("a range goes");
    let left = sorted(firewall, &table, "ranges");
    assert!(
        matches!(&left[..], [one] if one.contains("192.0.2.7")),
        "the other stays: {left:?}"
    );

    let swap = |verdict: Verdict| {
        Transaction::elements(
            &table,
            vec![
                Change::Delete {
                    set: "pools",
                    key: vec![Datum::Mark(7)],
                },
                add("pools", vec![Datum::Mark(7)], Element::Verdict(verdict)),
            ],
        )
    };
    firewall
        .commit(&swap(Verdict::Goto("two".into())))
        .expect("an element is replaced by delete and add");
    assert_eq!(
        sorted(firewall, &table, "pools"),
        ["0x00000007 : goto two"],
        "the new verdict is there"
    );

    let half_wrong = Transaction::elements(
        &table,
        vec![
            Change::Delete {
                set: "fronts",
                key: front(1),
            },
            Change::Delete {
                set: "fronts",
                key: front(77),
            },
        ],
    );
    assert!(
        firewall.commit(&half_wrong).is_err(),
        "deleting what isn't there fails"
    );
    assert_eq!(
        as_numbers(sorted(firewall, &table, "fronts")),
        fronts,
        "a failed transaction changes nothing"
    );
    let clash = Transaction::elements(&table, vec![add("fronts", front(1), mark(99))]);
    assert!(
        firewall.commit(&clash).is_err(),
        "adding a key that has other data fails"
    );
    let same = Transaction::elements(&table, vec![add("fronts", front(1), mark(7))]);
    firewall
        .commit(&same)
        .expect("adding what is there already is fine");

    let many: Vec<Change> = (0..3000_u32)
        .map(|n| {
            add(
                "ends",
                vec![Datum::Mark(n), Datum::Number(9)],
                Element::Data(vec![ip(9), Datum::Port(80)]),
            )
        })
        .collect();
    firewall
        .commit(&Transaction::elements(&table, many))
        .expect("many elements at once");
    assert_eq!(
        firewall.elements(&table, "ends").expect("the map is there").len(),
        3001,
        "all of them are there"
    );

    firewall.delete_table(&table).expect("the table goes");
    firewall.delete_table(&table).expect("and may be gone already");
}
