mod needs_root {
    use crate::net::Net;
    use crate::netns::Namespace;

    #[test]
    fn work_happens_inside_and_the_caller_stays_outside() {
        let before = Net::here().unwrap().links().unwrap().len();
        let ns = Namespace::unnamed().unwrap();
        let inside = ns.run(|| Net::here()?.links()).unwrap();
        assert_eq!(inside.iter().filter(|l| l.name == "lo").count(), 1);
        assert!(
            inside.iter().all(|l| !l.up),
            "a new namespace has nothing up: {inside:?}"
        );
        assert_eq!(Net::here().unwrap().links().unwrap().len(), before);
    }

    #[test]
    fn a_bound_namespace_is_found_by_its_path_until_unbound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ns");
        let made = Namespace::bound(&path).unwrap();
        assert!(Namespace::bound(&path).unwrap_err().is_exists());
        let net = Net::inside(&made).unwrap();
        net.add_bridge("there").unwrap();
        let again = Namespace::open(&path).unwrap();
        assert!(Net::inside(&again).unwrap().link("there").unwrap().is_some());
        Namespace::unbind(&path).unwrap();
        Namespace::unbind(&path).unwrap();
        assert!(!path.exists());
    }
}
