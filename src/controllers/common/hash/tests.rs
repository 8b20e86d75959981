use super::*;

#[test]
fn fnv_matches_published_vectors() {
    assert_eq!(fnv1a(b""), 0x811c_9dc5);
    assert_eq!(fnv1a(b"a"), 0xe40c_292c);
    assert_eq!(fnv1a(b"foobar"), 0xbf9c_f968);
}

#[test]
fn encoded_digits_are_safe_and_collisions_change_the_hash() {
    assert!(safe_encode(1_234_567_890).bytes().all(|b| ALPHABET.contains(&b)));
    let template = PodTemplateSpec::default();
    assert_eq!(template_hash(&template, None), template_hash(&template, None));
    assert_ne!(template_hash(&template, None), template_hash(&template, Some(1)));
}
