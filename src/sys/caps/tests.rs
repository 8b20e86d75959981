use super::*;

#[test]
fn status_lines_become_names() {
    let text = "Name:\tx\nCapEff:\t0000000000203000\nCapBnd:\t000001ffffffffff\n";
    let caps = Capabilities::from_status(text, "CapEff").unwrap();
    assert_eq!(caps.names(), ["NET_ADMIN", "NET_RAW", "SYS_ADMIN"]);
    assert!(
        caps.has("CAP_SYS_ADMIN") && caps.has("NET_RAW") && !caps.has("SYS_RESOURCE") && !caps.has("NONE")
    );
    assert_eq!(
        Capabilities::from_status(text, "CapBnd").unwrap().names().len(),
        NAMES.len()
    );
    assert!(Capabilities::from_status("", "CapEff").is_err());
}

#[test]
fn this_process_has_a_readable_set() {
    Capabilities::effective().unwrap();
}
