use super::*;

#[test]
fn attributes_survive_the_round_trip() {
    let mut m = Message::new(16, 0, &[1, 2, 3, 4]);
    m.attr_str(3, "eth0").attr_u32(4, 1500).nest(18, |m| {
        m.attr_str(1, "veth");
        m.attr_u8(7, 9);
    });
    let bytes = m.finish(7, NLM_F_ACK);
    assert_eq!(bytes.len() % 4, 0);
    assert_eq!(u32_of(&bytes), Some(bytes.len() as u32));
    let found: Vec<_> = attrs(&bytes[HEADER + 4..]).collect();
    assert_eq!(found.len(), 3);
    assert_eq!((found[0].0, str_of(found[0].1)), (3, "eth0".to_owned()));
    assert_eq!((found[1].0, u32_of(found[1].1)), (4, Some(1500)));
    let inner: Vec<_> = attrs(found[2].1).map(|(k, v)| (k, v.to_vec())).collect();
    assert_eq!(inner, [(1, b"veth\0".to_vec()), (7, vec![9])]);
}

#[test]
fn ill_formed_attributes_end_the_list_and_never_panic() {
    for bytes in [
        &[][..],
        &[1],
        &[3, 0, 1, 0],
        &[200, 0, 1, 0, 5],
        &[0, 0, 0, 0, 0, 0],
    ] {
        assert_eq!(attrs(bytes).count(), 0, "{bytes:?}");
    }
    assert_eq!(attrs(&[5, 0, 1, 0, 9]).count(), 1);
}

#[test]
fn a_refusal_carries_the_kernels_words() {
    let mut error = (-libc::EINVAL).to_ne_bytes().to_vec();
    error.extend_from_slice(&[0; HEADER]);
    let mut tail = Message::new(0, 0, &[]);
    tail.attr_str(NLMSGERR_ATTR_MSG, "Invalid MTU");
    error.extend_from_slice(&tail.bytes[HEADER..]);
    let e = acknowledgement(&error, NLM_F_ACK_TLVS | NLM_F_CAPPED, &|| {
        "set the MTU of x".into()
    })
    .unwrap_err();
    assert_eq!(e.to_string(), "cannot set the MTU of x: Invalid MTU");
    assert_eq!(e.errno(), Some(libc::EINVAL));
}
