mod needs_root_and_nft {
    use std::net::UdpSocket;

    use crate::conntrack::Conntrack;
    use crate::net::Net;
    use crate::netns::Namespace;
    use crate::nft::{Family, Firewall, Process, Table, Transaction};

    #[test]
    fn a_forgotten_udp_flow_is_translated_anew() {
        let ns = Namespace::unnamed().unwrap();
        ns.run(|| {
            let net = Net::here()?;
            let lo = net.expect_link("lo")?;
            net.set_up(lo.index)?;
            let (a, b) = (
                UdpSocket::bind("127.0.0.1:0").unwrap(),
                UdpSocket::bind("127.0.0.1:0").unwrap(),
            );
            let table = Table::new(Family::Ip, "t");
            let rules = |port: u16| {
                let text = format!(
                    "add table ip t\ndelete table ip t\ntable ip t {{\nchain o {{\n\
                     type nat hook output priority -100;\nudp dport 5353 dnat to 127.0.0.1:{port}\n}}\n}}\n"
                );
                Process::default().commit(&Transaction::script(&table, text))
            };
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            let mut buffer = [0; 8];
            let port_of = |s: &UdpSocket| s.local_addr().unwrap().port();
            for s in [&a, &b] {
                s.set_read_timeout(Some(std::time::Duration::from_secs(5)))
                    .unwrap();
            }
            rules(port_of(&a))?;
            client.send_to(b"1", "127.0.0.1:5353").unwrap();
            a.recv(&mut buffer).unwrap();
            rules(port_of(&b))?;
            client.send_to(b"2", "127.0.0.1:5353").unwrap();
            a.recv(&mut buffer).unwrap();
            let gone = port_of(&a);
            let mut conntrack = Conntrack::here()?;
            let forgotten = conntrack.forget_if(false, |f| {
                f.is_translated() && f.original.protocol == 17 && f.reply.source.port() == gone
            })?;
            assert_eq!(forgotten, 1);
            client.send_to(b"3", "127.0.0.1:5353").unwrap();
            assert_eq!(b.recv(&mut buffer).unwrap(), 1);
            Ok(())
        })
        .unwrap();
    }
}
