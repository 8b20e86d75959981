use super::*;

#[test]
fn labels_and_subdomains() {
    for s in ["a", "web-1", "0", &"a".repeat(63)] {
        assert!(dns1123_label(s).is_empty(), "{s}");
        assert!(dns1123_subdomain(s).is_empty(), "{s}");
    }
    assert_eq!(dns1123_label("a.b"), ["must not contain dots"]);
    assert_eq!(
        dns1123_label("Web"),
        [
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        ]
    );
    assert_eq!(
        dns1123_label(&"a".repeat(64)),
        ["must be no more than 63 characters"]
    );
    assert_eq!(
        dns1123_subdomain("a_b"),
        [
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
        ]
    );
    for s in ["", "-a", "a-", "a..b", ".a"] {
        assert!(!dns1123_subdomain(s).is_empty(), "{s}");
    }
    assert!(!dns1035_label("1a").is_empty());
    assert!(dns1035_label("a1").is_empty());
    assert!(wildcard_dns1123_subdomain("*.a.b").is_empty());
    assert!(!wildcard_dns1123_subdomain("a.*").is_empty());
}

#[test]
fn qualified_names() {
    for s in ["a", "example.com/MyName", "a_b.c-d", "0/0"] {
        assert!(qualified_name(s).is_empty(), "{s}");
    }
    assert_eq!(qualified_name("/a"), ["prefix part must be non-empty"]);
    assert!(qualified_name("a/b/c")[0].starts_with("a valid label key must consist of"));
    assert_eq!(qualified_name("").len(), 2);
    assert!(label_value("").is_empty());
    assert!(label_value("a b")[0].contains("a valid label must be an empty string or consist of"));
}

#[test]
fn ports_and_keys() {
    assert!(port_name("http").is_empty());
    assert_eq!(port_name("80"), ["must contain at least one letter (a-z)"]);
    assert_eq!(port_name("a--b"), ["must not contain consecutive hyphens"]);
    assert_eq!(port_num(0), ["must be between 1 and 65535, inclusive"]);
    assert!(config_map_key("a.b-c_D").is_empty());
    assert_eq!(config_map_key(".."), ["must not be '..'"]);
    assert!(!config_map_key("a/b").is_empty());
    assert!(env_var_name("my var").is_empty());
    assert!(!env_var_name("a=b").is_empty());
    assert!(percent("10%").is_empty() && !percent("10").is_empty());
    assert_eq!(path_segment("a/b"), ["may not contain '/'"]);
    assert!(path_segment("system:node").is_empty());
}
