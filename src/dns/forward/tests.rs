use super::*;

#[test]
fn servers_are_read_and_our_own_left_out() {
    let text = "# x\nsearch a b\nnameserver 127.0.0.11\n  nameserver\t10.96.0.10 \nnameserver x\noptions ndots:5\nnameserver fd00::1";
    let ips: Vec<String> = parse(text).iter().map(ToString::to_string).collect();
    assert_eq!(ips, ["127.0.0.11", "10.96.0.10", "fd00::1"]);
    let dir = std::env::temp_dir().join(format!("rkind-dns-{}", std::process::id()));
    std::fs::write(&dir, text).unwrap();
    let forwarder = Forwarder::new(dir.clone(), vec!["10.96.0.10:53".parse().unwrap()]);
    let servers: Vec<String> = forwarder.servers().iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["127.0.0.11:53", "[fd00::1]:53"]);
    std::fs::remove_file(&dir).unwrap();
    assert_eq!(forwarder.servers().len(), 2, "kept while the file is away");
}
