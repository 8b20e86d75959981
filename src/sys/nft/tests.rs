use std::net::IpAddr;

use super::*;

#[test]
fn neighbours_of_one_sort_share_a_command() {
    let table = Table::new(Family::Ip, "t");
    let key = |n| vec![Datum::Mark(n)];
    let elements = vec![
        Change::Delete {
            set: "pools",
            key: key(1),
        },
        Change::Add {
            set: "pools",
            key: key(1),
            element: Element::Verdict(Verdict::Jump("a".into())),
        },
        Change::Add {
            set: "pools",
            key: key(2),
            element: Element::Verdict(Verdict::Drop),
        },
        Change::Add {
            set: "ends",
            key: vec![Datum::Mark(2), Datum::Number(0)],
            element: Element::Data(vec![Datum::Ip(IpAddr::from([10, 0, 0, 1])), Datum::Port(53)]),
        },
    ];
    let transaction = Transaction {
        table,
        script: "add table ip t".into(),
        elements,
    };
    assert_eq!(
        transaction.to_text(),
        "add table ip t\n\
         delete element ip t pools { 0x00000001 }\n\
         add element ip t pools { 0x00000001 : jump a,\n 0x00000002 : drop }\n\
         add element ip t ends { 0x00000002 . 0 : 10.0.0.1 . 53 }\n"
    );
}

#[test]
fn the_recording_fake_keeps_the_contract() {
    check_contract(&Recording::default());
}

mod needs_root_and_nft {
    use super::*;
    use crate::netns::Namespace;

    #[test]
    fn the_nft_program_keeps_the_contract() {
        Namespace::unnamed()
            .unwrap()
            .run(|| {
                check_contract(&Process::default());
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn netlink_keeps_the_contract() {
        Namespace::unnamed()
            .unwrap()
            .run(|| {
                check_contract(&Netlink::here()?);
                Ok(())
            })
            .unwrap();
    }
}
