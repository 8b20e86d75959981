use super::*;

fn accept(value: &str) -> HeaderMap {
    let mut map = HeaderMap::new();
    map.insert(http::header::ACCEPT, value.parse().unwrap());
    map
}

#[test]
fn kubectl_get_asks_for_a_table_first() {
    let header = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
    assert_eq!(
        negotiate(&accept(header), true, false, true).unwrap().shape,
        Shape::Table
    );
    assert_eq!(
        negotiate(&accept(header), false, false, true).unwrap().shape,
        Shape::Object
    );
}

#[test]
fn quality_orders_and_unknown_types_are_406() {
    let media = negotiate(
        &accept("application/json;q=0.5, application/vnd.kubernetes.protobuf"),
        true,
        false,
        true,
    );
    assert_eq!(media.unwrap().encoding, Encoding::Protobuf);
    assert_eq!(negotiate(&accept("text/html"), true, false, true), None);
    assert_eq!(
        negotiate(
            &accept("application/json;as=Table;v=v9;g=meta.k8s.io"),
            true,
            false,
            true
        ),
        None
    );
    assert_eq!(
        negotiate(&accept("*/*"), true, true, true),
        Some(Media {
            pretty: true,
            ..Media::JSON
        })
    );
}

#[test]
fn body_types() {
    let mut map = HeaderMap::new();
    assert_eq!(body_encoding(&map), Some(Encoding::Json));
    map.insert("content-type", "application/yaml; charset=utf-8".parse().unwrap());
    assert_eq!(body_encoding(&map), Some(Encoding::Yaml));
    map.insert("content-type", "text/plain".parse().unwrap());
    assert_eq!(body_encoding(&map), None);
}
