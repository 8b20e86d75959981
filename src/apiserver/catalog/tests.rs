use super::*;
use crate::apis::Enabled;

#[test]
fn builtin_resources_are_found_and_grouped() {
    let catalog = Catalog::new(Enabled::new(&[]).unwrap());
    let deployments = catalog.find("apps", "v1", "deployments").unwrap();
    assert_eq!(deployments.kind, "Deployment");
    assert!(catalog.find("apps", "v2", "deployments").is_none());
    assert!(catalog.find("apps", "v1", "widgets").is_none());
    let now = catalog.now();
    assert_eq!(now.groups()[0].name, "");
    assert_eq!(now.versions(""), ["v1"]);
    assert_eq!(now.versions("autoscaling")[0], "v2");
    assert!(now.versions("example.com").is_empty());
    assert_eq!(now.all().len(), resources::builtin().len());
}
