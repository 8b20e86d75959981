use super::*;

fn mount(sub: Option<&str>, expression: Option<&str>) -> VolumeMount {
    VolumeMount {
        name: "v".into(),
        sub_path: sub.map(Into::into),
        sub_path_expr: expression.map(Into::into),
        ..VolumeMount::default()
    }
}

#[test]
fn sub_paths_stay_inside() {
    let temp = tempfile::tempdir().expect("a directory");
    let volume = temp.path().join("volume");
    std::fs::create_dir(&volume).expect("a directory");
    let root = volume.canonicalize().expect("a path");
    let env = [("POD".to_string(), "web-0".to_string())];
    assert_eq!(sub_path(&volume, &mount(None, None), &env).expect("all"), volume);
    assert_eq!(
        sub_path(&volume, &mount(Some("a/b"), None), &env).expect("made"),
        root.join("a/b")
    );
    assert_eq!(
        sub_path(&volume, &mount(None, Some("$(POD)/x")), &env).expect("expanded"),
        root.join("web-0/x")
    );
    symlink("/etc", volume.join("out")).expect("a link");
    for bad in ["/etc", "../x", "a/../../x", "out", "out/new"] {
        assert!(sub_path(&volume, &mount(Some(bad), None), &env).is_err(), "{bad}");
    }
    assert!(sub_path(&volume, &mount(None, Some("$(NO)")), &env).is_err());
    assert!(!Path::new("/etc/new").exists());
}
