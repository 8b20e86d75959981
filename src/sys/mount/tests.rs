use super::*;

#[test]
fn mountinfo_lines_with_tags_escapes_and_none() {
    let text = "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n\
        40 36 0:30 / /a\\040b\\134c rw,nosuid shared:7 master:2 propagate_from:3 - tmpfs tmp\\040fs rw,size=1k\n\
        41 36 0:31 / /proc ro - proc proc rw\n";
    let found = parse_mountinfo(text).unwrap();
    assert_eq!(
        (found[0].id, found[0].parent, found[0].master, found[0].shared),
        (36, 35, Some(1), None)
    );
    assert_eq!(found[0].root, Path::new("/mnt1"));
    assert_eq!(found[1].target, Path::new("/a b\\c"));
    assert_eq!((found[1].shared, found[1].master), (Some(7), Some(2)));
    assert_eq!(
        (found[1].source.as_str(), found[1].super_options.as_str()),
        ("tmp fs", "rw,size=1k")
    );
    assert!(found[2].has_option("ro") && !found[2].has_option("rw") && found[2].has_super_option("rw"));
    for bad in ["36 35 98:0 / /x rw", "x 35 98:0 / /x rw - a b c", "1 2 3 - a"] {
        assert!(parse_mountinfo(bad).is_err(), "{bad}");
    }
}

mod needs_root {
    use super::*;

    #[test]
    fn bind_read_only_and_unmount_everything_below() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (source, target) = (root.join("source"), root.join("target"));
        std::fs::create_dir(&source).unwrap();
        std::fs::create_dir(&target).unwrap();
        tmpfs(&source, Some(64 * 1024), 0o750).unwrap();
        std::fs::write(source.join("f"), "x").unwrap();
        std::fs::create_dir(source.join("inner")).unwrap();
        tmpfs(&source.join("inner"), None, 0o755).unwrap();
        assert!(is_mount_point(&source).unwrap());

        bind_read_only(&source, &target, true).unwrap();
        assert!(is_mount_point(&target.join("inner")).unwrap());
        let refused = std::fs::write(target.join("f"), "y").unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(nix::libc::EROFS));
        let info = mount_at(&target).unwrap().unwrap();
        assert!(info.has_option("nosuid") && info.has_option("nodev"), "{info:?}");
        set_read_only(&target, false).unwrap();
        std::fs::write(target.join("f"), "y").unwrap();

        set_propagation(&source, Propagation::Shared, false).unwrap();
        assert!(mount_at(&source).unwrap().unwrap().shared.is_some());
        set_propagation(&source, Propagation::Private, false).unwrap();
        assert!(mount_at(&source).unwrap().unwrap().shared.is_none());

        unmount_recursive(&root, Unmount::Plain).unwrap();
        unmount_recursive(&root, Unmount::Plain).unwrap();
        unmount(&target, Unmount::Plain).unwrap();
        assert!(mounts().unwrap().iter().all(|m| !m.target.starts_with(&root)));
    }
}
